"""Folders that are held open: no link is followed, what is written is ours and stays."""
