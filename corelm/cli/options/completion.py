"""Names and words for the shell's completion."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def offered_names(hook: str) -> Callable[[], list[str]]:
    """Return a completion of the names that plugins offer through a hook.

    Of `corelm_models` also the names of the models in corelm's home, and those of schemes.
    """

    def names() -> list[str]:
        from corelm.cli.output.product import product

        with product():
            if hook == "corelm_models":
                from corelm.registry.models import list_models

                return [model.name for model in list_models()]
            from corelm.registry.registry import registry

            return [offer.name for offer in registry().offers(hook)]

    return names


sampler_names = offered_names("corelm_samplers")
decoder_names = offered_names("corelm_decoders")
model_names = offered_names("corelm_models")


def preset_names() -> list[str]:
    """Return the names of the presets."""
    from corelm.registry.packages import NAMES, package_object

    return list(package_object(NAMES, "presets")())


def one_of(values: Sequence[object]) -> Callable[[], list[str]]:
    """Return a completion of fixed choices."""
    return lambda: [str(value) for value in values]
