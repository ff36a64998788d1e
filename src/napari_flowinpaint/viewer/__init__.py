"""What one napari viewer works on; no Qt."""
