"""Training of the network that repairs a section from itself."""
