"""References: optical flow, interpolation, registration, and how far to trust them."""
