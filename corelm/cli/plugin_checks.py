"""For authors of plugins: check the names of entry points, and call each offer once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING
from functools import partial

import numpy as np

from corelm.chain_stages import fault_of_result
from corelm.cli.output.describe import example
from corelm.context import Context
from corelm.decoding.draws import RandomStream
from corelm.decoding.state import DecodingTask
from corelm.errors import ParameterError, PluginError, UsageError
from corelm.printable import listed
from corelm.registry.expressions import Expression
from corelm.registry.loading import plugin_errors, stdout_to_stderr
from corelm.registry.offers import Offer, Source
from corelm.registry.registry import Registry

Called = Callable[[Offer], str]
"""A function that calls an offer once and returns what is wrong with the result, or ""."""


def misnamed(registry: Registry) -> Iterator[str]:
    """Yield a message for each entry point that has the name of nothing that it offers."""
    offered_by: dict[tuple[str, str], set[str]] = {}
    for offer in (offer for hook in registry.checks for offer in registry.offers(hook)):
        offered_by.setdefault(_module(offer.source), set()).add(offer.name)
    for source in registry.sources():
        if source.entry_point == "corelm_next_token" or source in registry.failures:
            continue
        names = sorted(offered_by.get(_module(source), ()))
        if source.entry_point not in names:
            offered = listed(names) if names else "nothing"
            yield (
                f"the entry point {source} offers {offered}; give it the "
                "name of what it offers, so that asking for that imports this module alone"
            )


def _module(source: Source) -> tuple[str, str]:
    """Return the distribution of an entry point, and the module that it names."""
    return source.distribution, source.value


def failing(registry: Registry) -> Iterator[str]:
    """Yield a message for each sampler and decoder that fails on a small distribution."""
    calls: tuple[tuple[str, Called, list[Offer]], ...] = (
        ("sampler", _call_sampler, registry.offers("corelm_samplers")),
        ("decoder", _call_decoder, registry.offers("corelm_decoders")),
    )
    for kind, call, offers in calls:
        for offer in offers:
            if fault := _refused_default(offer) or _fault(partial(call, offer)):
                yield f"the {kind} {offer.full_name} {fault}"


def _refused_default(offer: Offer) -> str:
    """Return a message if a parameter's default breaks the parameter's own rule, else ""."""
    for parameter in offer.value.parameters():
        try:
            if parameter.default is not MISSING:
                parameter.convert(parameter.default)
        except ParameterError as error:
            return f"refuses its own default: {error}"
    return ""


def _fault(call: Callable[[], str]) -> str:
    """Return the message that the call returns, or the text of the error that it raises."""
    try:
        with plugin_errors(), stdout_to_stderr(), np.errstate(all="ignore"):
            return call()
    except PluginError as error:
        # Some need parameters, or words that this vocabulary lacks: that isn't a mistake.
        return "" if isinstance(error.__cause__, UsageError) else f"failed in a call: {error}"


def _call_sampler(offer: Offer) -> str:
    from corelm.testing import ToyModel  # takes 20 ms

    vocabulary = ToyModel().vocabulary
    logits = np.linspace(-2, 2, len(vocabulary), dtype=np.float32)[None]
    context = Context.of([vocabulary.encode("the cat sat")], vocabulary=vocabulary)
    # The sampler itself: the core skips one at its neutral values.
    sampler = example(offer.value, offer.full_name)
    str(sampler)  # its label in a report
    result = sampler(logits.copy(), context)
    fault = fault_of_result(result, logits)
    return fault and f"returned {fault}"


def _call_decoder(offer: Offer) -> str:
    from corelm.testing import ToyModel

    model = ToyModel()
    prompt = np.array(model.vocabulary.encode("the cat"), dtype=np.int64)
    sampler, random_stream = Expression.built_in("stochastic"), RandomStream(1, (0, 1))
    next(iter(offer.value()(DecodingTask(model, prompt, sampler, random_stream, 2))), None)
    return ""


def shadowing_parameters(
    offers: Iterable[Offer], options: Iterable[str]
) -> list[tuple[Offer, str]]:
    """List the parameters whose option a command already has.

    Such a parameter needs the longer option `--sampler-NAME`; its author should rename it.

    Args:
        offers: samplers or decoders.
        options: the options of the commands, such as `--length`.

    Returns:
        Pairs of an offer and the name of one of its parameters.
    """
    reserved = {option.lstrip("-").replace("-", "_") for option in options}
    return [
        (offer, parameter.name)
        for offer in offers
        for parameter in offer.value.parameters()
        if parameter.name in reserved
    ]
