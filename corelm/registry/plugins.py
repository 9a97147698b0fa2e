"""The public names of the registry: what is installed, what it offers, and its source."""

from corelm.docstrings import source_of
from corelm.registry.offers import Offer
from corelm.registry.registry import registry

__all__ = ["Offer", "registry", "source_of"]
