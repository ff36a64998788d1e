"""References: optical flow, interpolation, registration onto the intact pixels, and how far to trust them."""
