"""Is what a page says true: the ledger, the formulas against their meanings, and mutation of both."""
