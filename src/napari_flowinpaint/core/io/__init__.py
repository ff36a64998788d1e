"""Files: lazy reading of every format, pyramids, and durable writing."""
