"""Engines in this process with a file or folder, and servers."""
