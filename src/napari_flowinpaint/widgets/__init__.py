"""Docks of the plugin: thin forms over :mod:`napari_flowinpaint.viewer.session`."""
