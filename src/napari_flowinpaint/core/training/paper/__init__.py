"""Training of the FlowInpaint paper's two stages."""
