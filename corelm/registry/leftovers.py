"""The files that commands of packages leave when they are interrupted, for `corelm clean`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from corelm.errors import PluginError
from corelm.printable import shown
from corelm.registry.offers import Offer
from corelm.registry.registry import LEFTOVERS, Registry


class Leftovers(NamedTuple):
    """The files that an interrupted command leaves in a folder of corelm's home.

    Attributes:
        names: the pattern of their names.
        words: their description.
        lock_of: returns the file that the command locks while it uses one of them, or None.
    """

    names: str
    words: str
    lock_of: Callable[[Path], Path | None] = lambda path: None


def _check(offer: Offer) -> None:
    """Raise if an offer is not a kind of leftovers."""
    if not isinstance(offer.value, Leftovers):
        raise PluginError(f"not leftovers: {offer.name} is {shown(offer.value)}, not Leftovers")


class LeftoverRegistry(Registry):
    """The installed packages whose commands leave files behind when they are interrupted."""

    group = "corelm.leftovers"
    checks = {LEFTOVERS: _check}  # noqa: RUF012 - declared as a ClassVar in the base class
    hooks = (LEFTOVERS,)
