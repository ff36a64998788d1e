"""The engine: numpy, zarr and torch; no napari, no Qt."""
