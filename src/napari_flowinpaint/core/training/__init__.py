"""Training of the networks: torch, numpy, scikit-image, tifffile and safetensors only."""
