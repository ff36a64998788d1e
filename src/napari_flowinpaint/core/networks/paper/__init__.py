"""The two networks of the FlowInpaint paper, and their parts."""
