"""Masks of whole stacks, sparse and in layers."""
