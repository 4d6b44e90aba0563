"""How a model is trained fast, on one device or many, on every backend."""
