"""Names for the shell to complete."""

from __future__ import annotations

from corelm.cli.output.product import product
from corelm.model.load import list_models
from corelm.plugins.engine_presets import presets
from corelm.plugins.registry import registry


def sampler_names() -> list[str]:
    """The samplers there are."""
    with product():
        return [offer.name for offer in registry().samplers()]


def decoder_names() -> list[str]:
    """The decoders there are."""
    with product():
        return [offer.name for offer in registry().decoders()]


def model_names() -> list[str]:
    """The models that have a name."""
    with product():
        return [model.name for model in list_models()]


def preset_names() -> list[str]:
    """The presets there are."""
    return list(presets())
