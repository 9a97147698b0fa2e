"""The document of a report: its schema, and its readers, which need nothing else."""
