"""Fréchet inception distance: the Inception network, and how far two sets of features lie apart."""
