"""The networks of the FlowInpaint paper.

:mod:`.refined_reference`, :mod:`.inpainting` (with :mod:`.attention`) and :mod:`.discriminator`;
:mod:`.guided` runs the first two one after the other.
"""
