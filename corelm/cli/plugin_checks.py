"""For authors of plugins: check the names of entry points, and call each offer once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING
from functools import partial
from importlib import metadata

import numpy as np

from corelm.cli.output.describe import example
from corelm.context import Context
from corelm.decoding.draws import RandomStream
from corelm.decoding.state import DecodingTask
from corelm.errors import ParameterError, PluginError, UsageError
from corelm.language_model import ModelScheme
from corelm.metric import Metric, SetMetric, TextMetric, TokenMetric
from corelm.printable import listed
from corelm.registry.expressions import Expression
from corelm.registry.loading import OWN, plugin_errors, stdout_to_stderr
from corelm.registry.offers import Offer, Source
from corelm.registry.registry import Registry
from corelm.validation import fault_of_result

GROUPS = ("corelm", "corelm.commands", "corelm.folders", "corelm.logs", "corelm.records")
"""The groups of entry points of corelm and its packages."""

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


def foreign_groups() -> Iterator[str]:
    """Yield a message for each entry point of a group like corelm's that nothing reads."""
    points = (point for each in metadata.distributions() for point in each.entry_points)
    for point in points:
        word = point.group.partition(".")[0]
        if word.lower().rstrip("s") == OWN and point.group not in GROUPS:
            yield (
                f"the entry point {point.name} = {point.value} is in the group {point.group}, "
                f"which nothing reads; the groups are {listed(GROUPS)}"
            )


def _module(source: Source) -> tuple[str, str]:
    """Return the distribution of an entry point, and the module that it names."""
    return source.distribution, source.value


def failing(registry: Registry, quick: bool) -> Iterator[str]:
    """Yield a message for each offer that fails in a call, or breaks a law of its kind.

    The laws of corelm's own offers are tests of its own.

    Args:
        registry: the loaded plugins.
        quick: call each sampler and decoder once, without the laws.
    """
    calls: dict[str, Called] = {"sampler": _call_sampler, "decoder": _call_decoder}
    for kind in ("sampler", "decoder", "model", "metric"):
        for offer in registry.offers(f"corelm_{kind}s"):
            fault = _refused_default(offer) if kind != "model" else ""
            if not fault and kind in calls:
                fault = _fault(partial(calls[kind], offer))
            if not fault and not quick and offer.source.distribution != OWN:
                fault = _fault(partial(_break_a_law, kind, offer))
            if fault:
                yield f"the {kind} {offer.full_name} {fault}"


def _break_a_law(kind: str, offer: Offer) -> str:
    """Return what an offer does against the laws of its kind, or ""."""
    from corelm.testing import LAWS, ToyModel  # takes 20 ms

    if kind == "metric":
        return _answer_twice(offer.value())
    if isinstance(offer.value, ModelScheme):
        return ""  # it needs a file
    options = {"vocabulary": ToyModel().vocabulary} if kind == "sampler" else {}
    thing = example(offer.value, offer.full_name) if kind == "sampler" else offer.value()
    try:
        for law in LAWS[kind]:
            law(thing, **options)
    except AssertionError as error:
        if isinstance(error.__cause__, UsageError):
            return ""  # words that the toy vocabulary lacks: that isn't a mistake
        return f"breaks the law {law.__name__}: {error}"
    return ""


def _answer_twice(metric: Metric) -> str:
    """Return a message if a metric has two figures of the same texts, or ""."""
    logits = np.linspace(-2, 2, 12).reshape(3, 4)

    def figure() -> object:
        if isinstance(metric, SetMetric):
            return metric.figure([[3, 4], [3, 4, 5]], ["the cat", "the cat saw"])
        if isinstance(metric, TokenMetric):
            return np.asarray(metric.of_token(logits)).tolist()
        return metric.of_text([3, 4], "the cat") if isinstance(metric, TextMetric) else None

    first, again = figure(), figure()
    return "" if first == again else f"returned {first} and then {again} for the same texts"


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
