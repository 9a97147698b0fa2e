"""Notes on likely mistakes in a chain of samplers."""
