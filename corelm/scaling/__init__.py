"""Executors: units of work done in this process or by the workers of a Dask cluster."""
