"""Start reports: `corelm.compare`, `corelm report`, studies from a file, judging, reading logs."""
