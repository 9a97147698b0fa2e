"""Logs of other programs: paired differences between two runs of one task."""
