"""Sampling settings of other programs: their defaults as chains, and files read and written."""
