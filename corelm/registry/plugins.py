"""The public names of the registry: what is installed, what it offers, and its source."""

from corelm.registry.offers import Offer, citation_of
from corelm.registry.registry import Registry, registry

__all__ = ["Offer", "Registry", "citation_of", "registry"]
