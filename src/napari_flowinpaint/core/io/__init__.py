"""Everything that is read, written and removed on disk."""
