"""What is measured of a section before damage is looked for."""
