"""What models, adapters, reports and commands are built with, next to the names in `corelm`."""

from corelm.params import renamed

__all__ = ["renamed"]
