"""Training of the network for one neighbour, after Extend-GAN; see :mod:`...networks.one`."""
