"""Strict reading of requests: every field is declared once, and anything else is refused."""
