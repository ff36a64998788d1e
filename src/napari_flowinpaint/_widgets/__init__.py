"""Docks of the plugin: thin forms over :mod:`napari_flowinpaint.session`."""
