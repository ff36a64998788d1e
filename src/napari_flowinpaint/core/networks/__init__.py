"""Networks and their weights. They know nothing of stacks or files of images.

:mod:`.train_joint` registers both neighbours to the section at once; it is what repairs use, through
:mod:`.registration`. :mod:`.refined_reference`, :mod:`.inpainting` (with :mod:`.attention`) and
:mod:`.discriminator` are the paper's, through :mod:`.guided`. :mod:`.weights` saves and loads
them all.
"""
