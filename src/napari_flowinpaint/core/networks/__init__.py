"""Networks and their weights. They are independent of stacks and image files.

:mod:`.joint` registers both neighbours to the section at once; repairs use it through
:mod:`.registration`. Those of the FlowInpaint paper are in :mod:`.paper`. :mod:`.weights` saves and
loads them all.
"""
