"""What a job in the viewer does, from a request to its outcome; runs beside the viewer."""
