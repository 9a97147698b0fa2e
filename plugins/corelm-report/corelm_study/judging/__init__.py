"""Judgements of generated texts: blinded pairs for people or a model, and the win rates."""
