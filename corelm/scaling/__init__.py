"""Engines: the same units of work here, in processes of this machine, or on a Dask cluster."""

ENGINES = ("serial", "processes", "dask")
"""Their names."""
