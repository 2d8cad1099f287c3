"""What a page says: its cells, equations, claimed numbers and labels. Nothing here needs Sphinx or torch."""
