"""The public names for what is installed, what it is part of, and what it says of itself."""

from corelm.docstrings import source_of
from corelm.registry.loading import plugin_errors
from corelm.registry.offers import Offer, Source
from corelm.registry.registry import registry
from corelm.registry.strategies import parts

__all__ = ["Offer", "Source", "parts", "plugin_errors", "registry", "source_of"]
