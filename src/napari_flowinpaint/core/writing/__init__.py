"""Write back: the journal, the marks of synthetic pixels, recovery and revert."""
