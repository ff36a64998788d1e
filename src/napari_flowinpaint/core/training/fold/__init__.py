"""Training of the networks that undo support film folds; see :mod:`...networks.fold`."""
