"""The engines of `equality.py`: tiny random models, and the cases of each engine."""
