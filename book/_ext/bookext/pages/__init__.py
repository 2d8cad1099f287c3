"""What Sphinx draws: one module for each thing that a page shows or offers."""
