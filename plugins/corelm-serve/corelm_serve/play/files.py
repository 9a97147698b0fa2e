"""The files of the page."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from starlette.responses import Response

from corelm_serve.errors import ApiError

SHARED = "corelm.pages"
"""The package with the files that all pages of corelm share."""
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


@cache
def contents() -> dict[str, bytes]:
    """Return the files by name. A request looks a name up here, and opens no path."""
    own = files("corelm_serve.play").joinpath("page").iterdir()
    shared = files(SHARED).iterdir()
    return {file.name: file.read_bytes() for file in (*own, *shared) if _type(file.name)}


def page_file(name: str) -> Response:
    """Return a file of the page.

    Raises:
        ApiError: no such file.
    """
    if name not in contents():
        raise ApiError("there is no such file", 404)
    return Response(contents()[name], media_type=_type(name))


def _type(name: str) -> str | None:
    return TYPES.get(name.rpartition(".")[2])
