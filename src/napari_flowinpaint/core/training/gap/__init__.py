"""Training of the networks that fill gaps of isotropic volumes."""
