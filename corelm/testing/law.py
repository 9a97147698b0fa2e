"""A law: a function that raises an AssertionError with the fault and the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any

Law = Callable[..., None]
"""Takes a sampler, decoder, model or metric, and options of its kind."""


def law_maker(
    laws: list[Law],
    arguments: Callable[..., Sequence[Any]],
    message: Callable[[Any, Any], str],
) -> Callable[[str], Callable[[Callable[..., Iterator[Any]]], Law]]:
    """Return a decorator that makes a law of a generator of complaints, and lists it in `laws`.

    `arguments` makes those of the generator of a thing and the options; `message` tells the first
    complaint, before the way out.
    """

    def with_way_out(way_out: str) -> Callable[[Callable[..., Iterator[Any]]], Law]:
        def decorate(complaints: Callable[..., Iterator[Any]]) -> Law:
            @wraps(complaints)
            def law(thing: Any, **options: Any) -> None:
                for complaint in complaints(*arguments(thing, **options)):
                    raise AssertionError(f"{message(thing, complaint)}. {way_out}")

            laws.append(law)
            return law

        return decorate

    return with_way_out
