"""The engine: numpy, zarr, dask and torch; no napari, no Qt."""
