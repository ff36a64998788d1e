"""Network for sections with one usable neighbour, after Extend-GAN.

"Reconstruction of Large-Scale Missing Data in Remote Sensing Images Using Extend-GAN", Cui et al.,
IEEE Geoscience and Remote Sensing Letters 2024, doi 10.1109/LGRS.2023.3317898.
"""
