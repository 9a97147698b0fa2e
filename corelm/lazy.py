"""Public names that are imported on first use, and properties that are computed then."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from os.path import splitext
from typing import Any, Generic, TypeVar, overload


def attach_stub(module: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and `__dir__` of a module whose names its `.pyi` file lists.

    Each line of the file is `from home import attribute as name`, for type checkers too. The home
    is imported on first use of the name. The library lazy_loader reads relative imports alone, and
    would take longer to import than `import corelm` does.

    Args:
        module: the name of the module.
    """

    @cache
    def homes() -> dict[str, tuple[str, str]]:
        owner: Any = sys.modules[module]
        # By the loader, which also reads from a zip file.
        text = owner.__spec__.loader.get_data(f"{splitext(owner.__file__)[0]}.pyi").decode()
        rows = filter(None, map(str.split, text.splitlines()))
        return {name: (home, attribute) for _, home, _, attribute, _, name in rows}

    def find(name: str) -> Any:
        if name == "__all__":  # `from corelm import *` must not need the libraries of packages
            whole = module != "corelm"
            return sorted(n for n, (home, _) in homes().items() if whole or home[:7] == "corelm.")
        if name not in homes():
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, attribute = homes()[name]
        value = getattr(import_module(home), attribute, None) if home != module else None
        if value is None:
            value = import_module(f"{home}.{attribute}")
        setattr(sys.modules[module], name, value)
        return value

    return find, lambda: sorted({*vars(sys.modules[module]), *homes()})


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
