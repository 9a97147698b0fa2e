"""`corelm clean`: remove the leftovers of interrupted commands."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corelm import hookimpl
from corelm.cli.output.product import confirmed, product
from corelm.cli.text_values import application
from corelm.toolkit import Parameter, Rule, counted, home

if TYPE_CHECKING:
    from corelm.clean.leftovers import Leftover

DAYS = Parameter("days", float, 30, Rule(ge=0))
logger = logging.getLogger("corelm")


@hookimpl
def corelm_commands() -> Mapping[str, Any]:
    return {"clean": application(clean, "Remove what interrupted commands have left.")}


def clean(
    days: Annotated[
        str,
        typer.Option(metavar="NUMBER", help="Only what has not changed for this number of days."),
    ] = "30",
    yes: Annotated[bool, typer.Option("--yes", help="Remove it without asking.")] = False,
) -> None:
    """Remove what interrupted commands have left in corelm's home.

    These are the journals with which `report --resume` continues, the checkpoints with which
    `train --resume` continues, the measurements with which `study run` continues, and parts of
    downloads and files. What a running command uses stays.
    """
    from corelm.clean.leftovers import leftovers

    with product() as out:
        found = list(leftovers(home(), DAYS.convert(days)))
        if not found:
            logger.info("nothing to remove in %s", home())
            return
        headers = ("what", "size", "days", "path")
        out.rows(headers, [_row(leftover) for leftover in found])
        if not yes and not confirmed(f"Remove {_count(found)}?"):
            logger.info("nothing was removed; to remove %s, answer y or add --yes", _count(found))
            return
        kept = [leftover.path for leftover in found if not leftover.remove()]
        logger.info("removed %s", _count([x for x in found if x.path not in kept]))
        for path in kept:
            logger.warning("%s was not removed: it is in use, or cannot be written", path)


def _row(leftover: Leftover) -> tuple[str, ...]:
    return leftover.kind, _size(leftover.size), f"{leftover.age:.0f}", str(leftover.path)


def _count(found: Sequence[Leftover]) -> str:
    size = _size(sum(leftover.size for leftover in found))
    return f"{counted(len(found), 'leftover')}, {size}"


def _size(count: float) -> str:
    """Return a number of bytes with a unit.

    Example:
        >>> _size(999), _size(1_500_000)
        ('999 B', '1.5 MB')
    """
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1000
    return f"{count:.3g} GB"
