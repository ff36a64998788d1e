"""What a job in the viewer does, from a request to its outcome; runs beside the viewer.

Each function takes frozen inputs and returns a result; none touches a viewer, a layer or the
session. Those that can take long report through ``progress`` and are cancelled by it.
"""
