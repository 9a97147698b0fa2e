"""Texts, tables, progress bars and messages on a terminal."""
