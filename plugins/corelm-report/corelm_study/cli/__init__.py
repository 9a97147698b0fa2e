"""The commands `corelm report` and `corelm study`."""
