"""Public names that are imported on first use, and properties that are computed then."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, overload


def on_first_use(module: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module that imports its names when they are first used.

    Args:
        module: the name of the module.
        homes: the home of each name: a module and the attribute in it, or a module alone.

    Example:
        >>> find = on_first_use("corelm.lazy", {"tau": "math:tau", "shell": "shlex"})
        >>> find("tau"), find("shell").__name__
        (6.283185307179586, 'shlex')
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, attribute = homes[name].partition(":")
        found: Any = importlib.import_module(home)
        value = getattr(found, attribute) if attribute else found
        setattr(sys.modules[module], name, value)
        return value

    return find


T = TypeVar("T")


class cached_property(Generic[T]):  # noqa: N801
    """Compute an attribute on first access and keep it in the instance's `__dict__`.

    Until Python 3.11, `functools.cached_property` holds a lock for all instances of a class while
    it computes. A process that forks at that moment leaves the lock held in the child for ever.
    Without a lock, two threads may both compute the value; the results are equal.
    """

    def __init__(self, function: Callable[[Any], T]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> cached_property[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> cached_property[T] | T:
        if instance is None:
            return self
        value = self._function(instance)
        instance.__dict__[self._name] = value  # from now on found before this descriptor
        return value
