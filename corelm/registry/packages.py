"""Ask corelm's packages by entry point for what the heart names and does not import.

The groups are `corelm.names`, for names such as `corelm.compare`, and `corelm.formats`, for formats
of models such as `.keras` files.
"""

from __future__ import annotations

from typing import Any

from corelm.errors import MissingDependencyError
from corelm.registry.entry_points import entry_points
from corelm.registry.loading import OWN

NAMES, FORMATS = "corelm.names", "corelm.formats"

EXTRAS = {"keras": "train", "keras_hub": "train"}
"""The extra that brings an object of a group; `report` for all others."""


def package_object(group: str, name: str) -> Any:
    """Return an object that a package of corelm offers.

    Args:
        group: `NAMES` or `FORMATS`.
        name: the name of the entry point.

    Raises:
        MissingDependencyError: the package is not installed; the message has the command.
    """
    # Third-party packages can't replace a name of corelm.
    points = [point for point in entry_points(group) if point.distribution.startswith(OWN)]
    point = next((point for point in points if point.name == name), None)
    if point is None:
        extra = EXTRAS.get(name, "report")
        raise MissingDependencyError(
            f"{name} is in a package of corelm that is not installed; install it with: "
            f'pip install "corelm[{extra}]"'
        )
    return point.load()
