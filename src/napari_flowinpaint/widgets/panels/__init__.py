"""The parts of the docks, each a form of its own."""
