"""Fréchet inception distance: the Inception network, and the distance between two sets of its features."""
