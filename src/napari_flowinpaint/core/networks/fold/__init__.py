"""Networks that undo support film folds: interpolation, unfolding, fusion.

"Learning to restore ssTEM images from deformation and corruption" (ECCV workshops 2020), section
4.2: :mod:`.kpn` interpolates the section from its neighbours, :mod:`.unfolding` finds the flow that
moves its own tissue back, which :mod:`.settling` steadies, and :mod:`.fold_fusion` joins both;
:mod:`.restoration` is all of it, one after the other. The networks are residual U-Nets
(:mod:`.unet`).
"""
