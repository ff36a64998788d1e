"""Networks that fill gaps of isotropic volumes."""
