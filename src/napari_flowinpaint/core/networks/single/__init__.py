"""Repair from the section itself: a network of two branches, applied progressively.

"Image inpainting based on interactive separation network and progressive reconstruction
algorithm" (IEEE Access 2022): :mod:`.separation` is the network (section III A and B),
:mod:`.progressive` the reconstruction (algorithm 1), :mod:`.smooth_fill` what both begin with.
"""
