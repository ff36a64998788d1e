"""Damage of sections: make it for tests, training and the demo."""
