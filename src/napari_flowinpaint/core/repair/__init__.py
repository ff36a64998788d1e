"""One section, from the mask to the result: windows, neighbours, gate, quality."""
