"""The public names: those in the stubs, and those that public modules list."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType

IMPORTED = re.compile(r"^from \S+ import \w+ as (\w+)$", re.MULTILINE)


def names_in(module: ModuleType) -> list[str]:
    """Return the public names of a module: of its stub, of its list, or its classes."""
    stub = Path(module.__file__ or "").with_suffix(".pyi")
    if stub.exists():
        return sorted(IMPORTED.findall(stub.read_text("utf-8")))
    classes = [name for name, value in vars(module).items() if inspect.isclass(value)]
    return sorted(getattr(module, "__all__", classes))


def public_modules(path: str = "corelm") -> Iterator[tuple[str, ModuleType]]:
    """Yield each public module, by the path on which a program reaches it."""
    module = importlib.import_module(path)
    yield path, module
    for name in names_in(module):
        value = None
        with suppress(ModuleNotFoundError):  # of a package, where the heart is installed alone
            value = getattr(module, name)
        if inspect.ismodule(value):
            if value.__name__ == f"{path}.{name}":
                yield from public_modules(f"{path}.{name}")
            else:
                yield f"{path}.{name}", value


def public_names() -> dict[str, object]:
    """Return the public names that aren't modules, each by its path."""
    named = {
        f"{path}.{name}": getattr(module, name)
        for path, module in public_modules()
        for name in names_in(module)
    }
    return {path: value for path, value in named.items() if not inspect.ismodule(value)}
