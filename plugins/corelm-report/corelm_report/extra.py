"""The libraries of the extra `report`: without them, one sentence says how to install it."""

from __future__ import annotations

from importlib.util import find_spec

from corelm.errors import MissingDependencyError

LIBRARIES = ("jinja2", "jsonschema", "matplotlib")


def check_extra(purpose: str) -> None:
    """Raise if a library of the extra is missing; nothing is imported.

    Args:
        purpose: the subject of the message, such as "a report".

    Raises:
        MissingDependencyError: the message has the names and the command that installs them.

    Example:
        >>> check_extra("a report")
    """
    missing = [name for name in LIBRARIES if not _is_installed(name)]
    if missing:
        raise MissingDependencyError(
            f"{purpose} needs {' and '.join(missing)}; "
            'install what is missing with: pip install "corelm[report]"'
        )


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # an object without a spec is in `sys.modules` instead
        return False
