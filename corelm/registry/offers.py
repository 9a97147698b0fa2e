"""The things that plugins offer under a name, and the checks that each must pass."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from corelm.decoder import Decoder
from corelm.errors import PluginError
from corelm.language_model import ModelScheme
from corelm.metric import KINDS, Metric
from corelm.params import Parameterized
from corelm.printable import shown
from corelm.sampling import Sampler

NAME = re.compile(r"[\w.\-]+")


class Source(NamedTuple):
    """The origin of a plugin: a distribution, its version, an entry point in it."""

    distribution: str
    version: str
    entry_point: str
    value: str = ""

    def __str__(self) -> str:
        return f"{self.distribution}:{self.entry_point}"


class Offer(NamedTuple):
    """One thing that a plugin offers under a name."""

    name: str
    value: Any
    source: Source

    @property
    def full_name(self) -> str:
        """The name that is never ambiguous, such as `corelm-nucleus:top_p`."""
        return f"{self.source.distribution}:{self.name}"


Check: TypeAlias = Callable[[Offer], None]
"""Raises a `PluginError` for something that must not be offered."""


def check_name(offer: Offer) -> None:
    """Raise if a name cannot be typed in an expression or a command."""
    if type(offer.name) is not str or not NAME.fullmatch(offer.name):
        raise PluginError(
            f"the name {shown(offer.name)} cannot be typed; use letters, digits, _ . and -"
        )


def check_sampler(offer: Offer) -> None:
    """Raise if a sampler is not a complete subclass of `Sampler`."""
    _check_class(offer, Sampler, "sampler")


def check_decoder(offer: Offer) -> None:
    """Raise if a decoder is not a complete subclass of `Decoder`."""
    _check_class(offer, Decoder, "decoder")


def check_model(offer: Offer) -> None:
    """Raise if a model is neither a function nor a scheme."""
    if not callable(offer.value) and not isinstance(offer.value, ModelScheme):
        raise PluginError(
            f"not a model: {offer.name} is {shown(offer.value)}, not a function that loads one "
            "and not a ModelScheme"
        )


def check_metric(offer: Offer) -> None:
    """Raise if a metric is not a complete subclass of one of the four kinds, with a meaning."""
    _check_class(offer, Metric, "metric", *KINDS)
    meaning = offer.value.meaning
    if not isinstance(meaning, property) and not (isinstance(meaning, str) and meaning.strip()):
        raise PluginError(f"not a metric: {offer.name} has no meaning; define it in a few words")


CHECKS: Mapping[str, Check] = {
    "corelm_samplers": check_sampler,
    "corelm_decoders": check_decoder,
    "corelm_models": check_model,
    "corelm_metrics": check_metric,
}
"""The hooks of the group `corelm` that offer something under a name, and the check of each."""


def _check_class(
    offer: Offer, base: type[Parameterized], kind: str, *kinds: type[Parameterized]
) -> None:
    """Raise if an offer is not a complete subclass of a contract, or of one of its kinds."""
    name, value = offer.name, offer.value
    if not inspect.isclass(value):
        raise PluginError(f"not a {kind}: {name} is {shown(value)}, not a class")
    if not issubclass(value, kinds or base):
        names = " or ".join(f"corelm.{each.__name__}" for each in kinds or (base,))
        raise PluginError(f"not a {kind}: {value.__name__} does not inherit {names}")
    if inspect.isabstract(value):
        missing = ", ".join(sorted(vars(value)["__abstractmethods__"]))
        raise PluginError(f"not a {kind}: {value.__name__} has no {missing}")
    value.parameters()  # raises for a field that isn't a valid parameter


def distinct(offers: Iterable[Offer]) -> list[Offer]:
    """Return the offers without duplicates, which two entry points to one module cause."""
    kept: dict[str, list[Offer]] = {}
    # Lists by name instead of a set: a plugin's values may not be hashable.
    for offer in offers:
        same_name = kept.setdefault(offer.full_name, [])
        if not any(other.value == offer.value for other in same_name):
            same_name.append(offer)
    return [offer for same_name in kept.values() for offer in same_name]


def offers_by_name(offers: Iterable[Offer]) -> Mapping[str, list[Offer]]:
    """Group offers by name; a name with two offers is ambiguous."""
    grouped: dict[str, list[Offer]] = {}
    for offer in offers:
        grouped.setdefault(offer.name, []).append(offer)
    return grouped
