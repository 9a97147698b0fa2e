"""The declarations of a class of a plugin, checked when Python makes it; the values of parameters.

A value is converted to the declared type, immutable, and checked by a rule.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Set
from types import FunctionType, MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from corelm.errors import PluginError
from corelm.text.printable import shown

KINDS = ("temperature", "filter", "penalty", "other")
READABLE = frozenset({"tokens", "position", "surprisal", "model_surprisal", "vocabulary"})
"""The parts of a context that a sampler can declare in `reads`."""


class Declared(Protocol):
    """The attributes of a sampler's class that are checked."""

    kind: ClassVar[str]
    neutral: ClassVar[Mapping[str, Any]]
    example: ClassVar[Mapping[str, Any]]
    reads: ClassVar[frozenset[str]]
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


def check_attributes(cls: type[Declared]) -> None:
    """Raise if a class attribute breaks the contract; make the others immutable."""
    wrong = f"not a sampler: {cls.__name__}"
    if cls.kind == "mask" and not hasattr(cls, "allowed"):
        raise PluginError(f"{wrong}: a mask inherits corelm.Mask and has a method allowed(context)")
    if cls.kind not in (*KINDS, "mask"):
        raise PluginError(f"{wrong}.kind must be one of {', '.join(KINDS)}, not {cls.kind!r}")
    # A subclass's own `__call__` would bypass the traces and fallbacks of the core's.
    for method in ("allowed", "choose", "toss"):
        if hasattr(cls, method) and "__call__" in vars(cls) and method not in vars(cls):
            base = next(base for base in cls.__mro__ if method in vars(base)).__name__
            raise PluginError(
                f"{wrong} needs {method}(context), from which the core makes its __call__: write "
                f"that in place of __call__, or inherit corelm.Sampler instead of {base}"
            )
    if not isinstance(cls.reads, Set) or not cls.reads <= READABLE:
        raise PluginError(
            f"{wrong}.reads must be a set of {', '.join(sorted(READABLE))}, not {cls.reads!r}"
        )
    names = [field.name for field in dataclasses.fields(cls)]
    for name in ("neutral", "example"):
        values = getattr(cls, name)
        if not isinstance(values, Mapping) or not set(values) <= set(names):
            has = ", ".join(names) or "none"
            raise PluginError(
                f"{wrong}.{name} must map parameters to values, not be {values!r}; "
                f"the parameters are: {has}"
            )
    # A mutable class attribute could change all existing samplers.
    cls.reads = frozenset(cls.reads)
    cls.neutral = MappingProxyType(dict(cls.neutral))
    cls.example = MappingProxyType(dict(cls.example))


def refuse_unusable(cls: type, contract: type) -> None:
    """Raise if a class has a field or a method that its contract excludes."""
    not_a = f"not a {contract.__name__.lower()}: {cls.__name__}"
    typed = inspect.get_annotations(cls)
    fields = {name for name, hint in typed.items() if "ClassVar" not in str(hint)}
    for method in ("__init__", "__new__", "__eq__", "__hash__", "__str__"):
        # Without fields, all samplers of the class would be equal, and copies have the defaults.
        if isinstance(vars(cls).get(method), (FunctionType, staticmethod)):
            raise PluginError(
                f"{not_a}.{method} is made of the parameters; declare each as a field, such as "
                "`t: float = param(1.0, ...)`, and leave the method out"
            )
    for name, value in vars(cls).items():
        wrong = f"{not_a}.{name}"
        if isinstance(value, dataclasses.Field) and name not in typed:
            raise PluginError(f"{wrong} has no type; write `{name}: float = param(...)`")
        if name in fields and type(value).__hash__ is None:  # which `dataclass` refuses
            raise PluginError(
                f"{wrong} has the mutable default {shown(value)}; declare a tuple with "
                f'`{name}: tuple[str, ...] = param((), "...")`, pairs with '
                f'`{name}: dict = param({{}}, "...")`'
            )
        if inspect.isfunction(value) and (name == "__call__" or name[0] != "_"):
            _refuse_method(cls, value, wrong)
        elif isinstance(getattr(contract, name, None), bool) and not isinstance(value, bool):
            raise PluginError(f"{wrong} must be True or False, not {shown(value)}")
    for name in fields:
        if hasattr(contract, name):  # also `kind: str = "filter"`, which has a type too many
            raise PluginError(
                f"{not_a}.{name} hides an attribute of corelm.{contract.__name__}; choose another "
                "name for the parameter, or leave the type of the attribute out"
            )


def _refuse_method(cls: type, method: FunctionType, wrong: str) -> None:
    """Raise for an async method, or an argument in another place than the overridden method's."""
    if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
        raise PluginError(f"{wrong} is async and never runs: write it without async")
    name = method.__name__
    bases = (vars(base)[name] for base in cls.__mro__[1:] if name in vars(base))
    base = next(bases, None)
    if not inspect.isfunction(base):
        return
    own, expected = (f.__code__.co_varnames[: f.__code__.co_argcount] for f in (method, base))
    for at, argument in enumerate(own):
        if argument in expected and expected.index(argument) != at:
            raise PluginError(
                f"{wrong} has the argument {argument} in another place; write "
                f"{name}({', '.join(expected)})"
            )


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
WORDS: dict[Any, str] = {
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
