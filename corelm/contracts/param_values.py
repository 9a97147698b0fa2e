"""The values of parameters: converted to the declared type, immutable, and checked by a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


def _to_float(value: Any, _: Any) -> float:
    if isinstance(value, bool):  # Python counts it as a number, but here it is probably a mistake
        raise TypeError
    return float(value)


def _to_int(value: Any, _: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, str):
        return int(value)
    if value != int(value):  # 2.0 is a whole number, 2.5 is not
        raise ValueError
    return int(value)


def _to_bool(value: Any, _: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise TypeError
    return value


def _to_str(value: Any, _: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _to_token(value: Any, _: Any) -> int | str:
    return value if isinstance(value, str) and value else _to_int(value, None)


def _to_tuple(value: Any, item_type: Any) -> tuple[Any, ...]:
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",") if part.strip()]
        value = parts or value.split()  # "," alone is a comma
    if item_type is None:
        return tuple(_plain(item) for item in value)
    return tuple(CASTS[item_type](item, None) for item in value)


def _to_dict(value: Any, _: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise TypeError
    return FrozenDict((_plain(key), _plain(item)) for key, item in value.items())


def _plain(value: Any) -> Any:
    """Return a NumPy number as Python's own, whose `repr` can be read back."""
    return value.item() if isinstance(value, np.generic) else value


class FrozenDict(dict[Any, Any]):
    """A dict that cannot be changed, and hashes: a sampler that holds one is still a value."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    # The default pickle and copy would set its items one by one.
    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError("a parameter cannot be changed; make a new sampler with other values")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


CASTS: dict[Any, Callable[[Any, Any], Any]] = {
    float: _to_float,
    int: _to_int,
    bool: _to_bool,
    str: _to_str,
    tuple: _to_tuple,
    dict: _to_dict,
    int | str: _to_token,
}
KINDS: dict[Any, str] = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "a text",
    tuple: "a list",
    dict: "a mapping",
    int | str: "a token id or a word",
}


class ParamRule(NamedTuple):
    """The declaration of a parameter: help line, bounds, other names."""

    help: str = ""
    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None
    choices: tuple[Any, ...] | None = None
    aliases: tuple[str, ...] = ()
    whole: bool = False
    local: bool = False

    def __str__(self) -> str:
        """Return the bounds in words, such as `at least 0 and at most 1`; empty without bounds."""
        if self.choices is not None:
            return "one of " + ", ".join(map(str, self.choices))
        bounds = {"above": self.gt, "at least": self.ge, "below": self.lt, "at most": self.le}
        return " and ".join(
            f"{word} {bound if isinstance(bound, int) else f'{bound:g}'}"
            for word, bound in bounds.items()
            if bound is not None
        )

    def allows(self, value: Any) -> bool:
        """Return True if a value is within the bounds."""
        if self.choices is not None:
            return value in self.choices
        return (
            (self.gt is None or value > self.gt)
            and (self.ge is None or value >= self.ge)
            and (self.lt is None or value < self.lt)
            and (self.le is None or value <= self.le)
        )
