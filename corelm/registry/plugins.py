"""The public names of the registry: what is installed, from which distribution, and its source."""

from corelm.docstrings import source_of
from corelm.registry.loading import plugin_errors
from corelm.registry.offers import Offer, Source
from corelm.registry.registry import registry
from corelm.registry.strategies import parts

__all__ = ["Offer", "Source", "parts", "plugin_errors", "registry", "source_of"]
