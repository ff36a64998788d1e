"""Networks and their weights. They know nothing of stacks or files of images.

:mod:`.joint` registers both neighbours to the section at once; it is what repairs use, through
:mod:`.registration`. Those of the FlowInpaint paper are in :mod:`.paper`. :mod:`.weights` saves and
loads them all.
"""
