"""Refuse an unknown option, with the way to write what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress

from typer import TyperException

from corelm.cli.parameters import SHORT, Chosen, flag, scan
from corelm.contracts.params import Parameterized
from corelm.errors import ParameterError, UsageError
from corelm.registry.registry import registry
from corelm.text.printable import did_you_mean

CLOSE = 0.8
"""The similarity at which another option is suggested; all of them share the two hyphens."""


def refuse_unknown(
    arguments: Sequence[str], existing: Mapping[str, bool], chosen: Sequence[Chosen]
) -> None:
    """Raise if an option does not exist.

    Raises:
        UsageError: names the nearest option, the expression that was probably meant, or the
            options of the sampler and the decoder.
    """
    options, _ = scan(arguments, existing)
    unknown = [name for name in options if name not in existing]
    if not unknown:
        return
    name = unknown[0]
    # `--top-p` in place of `--sampler top_p` is the most likely mistake.
    word = name[2:].replace("-", "_")
    if word in (offer.name for offer in registry().offers("corelm_samplers")):
        raise UsageError(
            f"there is no option {name}; {word} is a sampler; write "
            f'--sampler "{_expression(arguments, existing, chosen)}"'
        )
    short = SHORT.get(word)
    if short in existing:
        raise UsageError(f"there is no option {name}; did you mean {short}?")
    hint = did_you_mean(name, existing, CLOSE) or _way_out(word, options, chosen)
    raise UsageError(f"there is no option {name}{hint}")


def _expression(
    arguments: Sequence[str], existing: Mapping[str, bool], chosen: Sequence[Chosen]
) -> str:
    """Return the chain that the options named after samplers, and the chosen one, probably mean.

    `--top-k 40 --top-p 0.9` is how other programs chain `top_k(k=40) | top_p(p=0.9)`.
    """
    classes = {flag(offer.name): offer.value for offer in registry().offers("corelm_samplers")}
    foreign = {option: bool(cls.parameters()) for option, cls in classes.items()}
    options, _ = scan(arguments, {**foreign, **existing})
    foreign_stages = [
        (classes[option].kind, _stage(classes[option], [value]))
        for option, value in options.items()
        if option in classes and option not in existing
    ]
    # A temperature first would flatten the probabilities that a filter compares.
    stages = sorted(
        [*foreign_stages, *_own_stage(options, chosen)], key=lambda s: s[0] == "temperature"
    )
    return " | ".join(text for _, text in stages)


def _own_stage(
    options: Mapping[str, str | None], chosen: Sequence[Chosen]
) -> Iterator[tuple[str, str]]:
    """Yield the kind and text of the chosen sampler; nothing if no option names it."""
    sampler = next((choice for choice in chosen if choice.kind == "sampler"), None)
    if sampler is None:
        yield from [("", each) for each in [options.get("--sampler")] if each]
        return
    values = [
        next((options[name] for name in names if name in options), None)
        for names in sampler.names.values()
    ]
    if "--sampler" in options or any(value is not None for value in values):
        yield getattr(sampler.cls, "kind", ""), _stage(sampler.cls, values)


def _stage(cls: type[Parameterized], values: Sequence[str | None]) -> str:
    """Write a class and the texts of its first parameters as an expression."""
    texts = []
    for parameter, value in zip(cls.parameters(), values, strict=False):
        # A value that it cannot have is named when the expression is read.
        with suppress(ParameterError):
            texts += [] if value is None else [f"{parameter.name}={parameter.convert(value)!r}"]
    return f"{cls.name}({', '.join(texts)})" if texts else cls.name


def _way_out(word: str, options: Collection[str], chosen: Sequence[Chosen]) -> str:
    """Return the end of the message: the valid options, or where the parameter belongs."""
    if "--preset" in options:
        return (
            "; a preset holds its own parameters: `corelm presets NAME` prints it as an "
            "expression that you can edit and pass to --sampler"
        )
    if not chosen or chosen[0].kind != "sampler":
        return f"; an expression holds its own parameters: name({word}=...)"
    listed = [choice for choice in chosen if choice.names or choice.kind == "sampler"]
    return ": " + " and ".join(
        f"the {choice.kind} {choice.cls.name} has "
        + (", ".join(names[0] for names in choice.names.values()) or "no parameters")
        for choice in listed
    )


def hint_of(error: TyperException) -> str:
    """Return the way to write what an option or argument that Typer refuses probably means."""
    message, context = error.format_message(), getattr(error, "ctx", None)
    parameters = getattr(getattr(context, "command", None), "params", ())
    words = [each.name for each in parameters if each.param_type_name == "argument"]
    if "samplers" in words and re.match("No such option: --samplers?( |$)", message):
        return "; samplers have no option: write them as words, such as top_p"
    options = [name for each in parameters for name in each.opts]
    takes_model = not words and "--model" in options
    return _sampler_hint(message) + (_model_hint(message) if takes_model else "")


def _model_hint(message: str) -> str:
    """Return how to name a model to a command that takes no words; empty in other errors."""
    extra = r"Got unexpected extra argument(?:\(s\)|s)? \((\S+)\)$"
    match = re.match(extra, message.rstrip("."))
    return f"; a model is named with --model {match[1]}" if match else ""


def _sampler_hint(message: str) -> str:
    """Return how to write the sampler that an unknown option names; empty if it names none.

    Example:
        >>> _sampler_hint("No such option: --top-k")
        '; top_k is a sampler, written as top_k(k=2)'
    """
    match = re.match(r"No such option: --([\w-]+)", message)
    if not match:
        return ""
    from corelm.cli.output.describe import example_expression  # loads what most errors don't need

    name = match[1].replace("-", "_")
    offers = [offer for offer in registry().offers("corelm_samplers") if offer.name == name]
    calls = [example_expression(offer.value, name) for offer in offers]
    return f"; {name} is a sampler, written as {calls[0]}" if calls else ""
