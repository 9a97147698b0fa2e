"""A look at the command line before Typer reads it: which options there are depends on it."""

from __future__ import annotations

import difflib
import inspect
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from corelm.cli.options.parameters import Chosen, flag
from corelm.errors import UsageError
from corelm.plugins.registry import registry


def own_options(command: Callable[..., Any]) -> dict[str, bool]:
    """The options of a command, and whether each takes a value.

    By convention each is the flag of its argument's name; one that takes no value is a bool.
    """
    arguments = inspect.signature(command, eval_str=True).parameters
    return {flag(name): not _is_bool(p.annotation) for name, p in arguments.items()}


def _is_bool(annotation: Any) -> bool:
    return bool in (annotation, *typing.get_args(annotation))


def scanned(
    arguments: Sequence[str], takes_value: Mapping[str, bool]
) -> tuple[dict[str, str | None], list[str]]:
    """The long options of a command line with their values, and the words that are neither.

    Example:
        >>> scanned(["--t=1", "a", "--stop", "--t", "--json"], {"--t": True, "--stop": True})
        ({'--t': '1', '--stop': '--t', '--json': None}, ['a'])
    """
    options: dict[str, str | None] = {}
    words: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if word == "--":
            words += rest
        elif word.startswith("--"):
            name, equals, text = word.partition("=")
            name, value = flag(name[2:]), text if equals else None
            if takes_value.get(name) and not equals:
                value = next(rest, None)
            options[name] = value
        elif word == "-" or not word.startswith("-"):
            words.append(word)
    return options, words


def refuse_unknown(
    given: Collection[str], known: Collection[str], chosen: Sequence[Chosen]
) -> None:
    """Refuse an option that there is not.

    Raises:
        UsageError: says the nearest option, or those of the sampler and the decoder.
    """
    unknown = [name for name in given if name not in known]
    if not unknown:
        return
    name = unknown[0]
    word = name[2:].replace("-", "_")
    if word in (offer.name for offer in registry().samplers()):
        raise UsageError(
            f"there is no option {name}; {word} is a sampler: choose it with --sampler, or chain "
            "it in an expression with |"
        )
    near = difflib.get_close_matches(name[2:], [option[2:] for option in known], n=1, cutoff=0.75)
    if near:
        raise UsageError(f"there is no option {name}; did you mean --{near[0]}?")
    if "--preset" in given:
        raise UsageError(
            f"there is no option {name}; a preset holds its parameters itself: `corelm presets "
            "NAME` prints it as an expression, to be changed and given to --sampler"
        )
    if not chosen or chosen[0].kind != "sampler":
        raise UsageError(
            f"there is no option {name}; an expression holds its parameters itself: "
            f"name({word}=...)"
        )
    raise UsageError(f"there is no option {name}: {_have(chosen)}")


def _have(chosen: Sequence[Chosen]) -> str:
    """What the sampler has, and the decoder if it has anything."""
    told = [choice for choice in chosen if choice.names or choice.kind == "sampler"]
    return " and ".join(
        f"the {choice.kind} {choice.cls.name} has "
        + (", ".join(several[0] for several in choice.names.values()) or "no parameters")
        for choice in told
    )
