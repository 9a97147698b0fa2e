"""A law: a function that raises an AssertionError for what breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, Protocol


class Law(Protocol):
    """A function that raises an AssertionError for a sampler, decoder or model that breaks it."""

    __name__: str

    def __call__(self, thing: Any, **options: Any) -> None:
        """Examine a thing.

        Args:
            thing: the sampler or decoder, with the parameters to try; or the model.
            **options: of a sampler's law, `vocabulary`: that of the contexts, for samplers that
                name words; of a decoder's, `model`: the one that writes the texts, by default a
                toy model; of a model's, `tolerance`: the largest difference of two logits that
                count as equal, 0 for a model that computes a text bit for bit the same in any way.
        """


def listed_law(
    laws: list[Law], complaints: Callable[..., Any], examine: Callable[..., Iterator[str]]
) -> Law:
    """Add a law to a list.

    Args:
        laws: the laws of a kind.
        complaints: has the name and the docstring of the law.
        examine: takes the arguments of the law, and yields the messages of complaints; the law
            raises the first one.
    """

    @wraps(complaints)
    def law(thing: Any, **options: Any) -> None:
        for message in examine(thing, **options):
            raise AssertionError(message)

    laws.append(law)
    return law
