"""Measure a report: its run, its units of work, its figures."""
