"""Read JSON documents that anybody may have written, and check their values."""

from __future__ import annotations

from typing import Any

import corelm
from corelm.errors import UsageError
from corelm.runs import is_finite_number, json_object


def read_document(text: str, form: str) -> dict[str, Any]:
    """Return the fields of a JSON object with a `format`, but the format.

    Args:
        text: the document.
        form: the expected format.

    Raises:
        UsageError: another kind of document, one in which a field occurs twice, nan or infinity.

    Example:
        >>> read_document('{"format": "a/1", "seed": 1}', "a/1")
        {'seed': 1}
    """
    fields = json_object(text, "the document")
    if fields.pop("format", None) != form:
        raise UsageError(f"expected the format {form}")
    return fields


def are_ids(values: Any, below: float = 2**31) -> bool:
    """Return True for a list of whole numbers of at least 0, which fit into 32 bits.

    Example:
        >>> are_ids([0, 7]), are_ids([True]), are_ids(["5"]), are_ids(7)
        (True, False, False, False)
    """
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < below for value in values
    )


def are_numbers(values: Any, *bounds: float) -> bool:
    """Return True for a list of finite numbers, perhaps in a range.

    Example:
        >>> are_numbers([-1, 0.5], -1, 0), are_numbers([float("nan")]), are_numbers([True])
        (False, False, False)
    """
    return isinstance(values, list) and all(is_finite_number(value, *bounds) for value in values)


def stated_sampler(chain: str, expected: corelm.Sampler | str | None) -> corelm.Sampler:
    """Return the sampler that a document states.

    Args:
        chain: the expression in the document. It may read nothing of this machine, such as a file
            or an environment variable.
        expected: the sampler or expression that the reader expects, which may; by default any.

    Raises:
        UsageError: another sampler than the expected one, or one that reads this machine.

    Example:
        >>> stated_sampler("top_k(k=2)", "top_k(k=3)")
        Traceback (most recent call last):
        corelm.errors.UsageError: the document states top_k(k=2), not top_k(k=3)
    """
    if expected is not None:
        sampler = corelm.sampler(expected)
        if str(sampler) != chain:
            raise UsageError(f"the document states {chain}, not {sampler}")
        return sampler
    with corelm.Sampler.refuse_local():
        return corelm.sampler(chain)
