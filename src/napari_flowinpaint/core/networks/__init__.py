"""Networks and their weights. They know nothing of stacks or files of images."""
