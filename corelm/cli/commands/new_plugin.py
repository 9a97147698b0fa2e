"""`corelm plugins new`: create a package with a sampler."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from corelm.cli.output import describe, messages
from corelm.cli.output.product import product
from corelm.errors import UsageError
from corelm.hookspecs import API_VERSION
from corelm.plugins.registry import registry

PREFIX = "corelm_"
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
FILES = {
    "pyproject.toml": "pyproject.toml",
    "sampler.py": "$module.py",
    "test.py": "test_$name.py",
    "README.md": "README.md",
}
"""The files of the package, by the template of each."""


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the sampler.")],
    into: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="The folder to create the package in. Default: the current one.",
        ),
    ] = None,
) -> None:
    """Create a package with a sampler to start from, and print its folder.

    The package can be installed and passes its tests as it is.

    \b
    corelm plugins new top_a
    pip install -e ./corelm-top-a
    """
    words = named(name)
    with product() as out:
        _warn_of_namesakes(words["name"])
        folder = Path(into or "") / words["package"]
        _write(folder, words)
        out.text(f"{folder}\n")
    messages.note(
        f"try it: pip install -e {folder}; pytest {folder}; corelm samplers {words['name']}"
    )


def named(given: str) -> dict[str, str]:
    """Return the names that belong to a sampler: of its class, module and package.

    Raises:
        UsageError: a name that cannot be typed or imported.

    Example:
        >>> names = named("Top-A")
        >>> names["name"], names["cls"], names["module"], names["package"]
        ('top_a', 'TopA', 'corelm_top_a', 'corelm-top-a')
    """
    name = re.sub(r"[-. ]+", "_", given.strip()).lower().removeprefix(PREFIX)
    cls = "".join(part.capitalize() for part in name.split("_"))
    if not NAME.fullmatch(name) or keyword.iskeyword(name) or keyword.iskeyword(cls):
        raise UsageError(
            f"{given!r} cannot name a sampler: use letters, digits and single _, begin with a "
            "letter, and avoid Python's keywords; for example top_a"
        )
    module = PREFIX + name
    return {
        "name": name,
        "cls": cls,
        "module": module,
        "package": module.replace("_", "-"),
        "version": ".".join(version("corelm").split(".")[:2]),
        "api": str(API_VERSION),
    }


def _warn_of_namesakes(name: str) -> None:
    for offer in registry().samplers():
        if offer.name == name:
            origin = describe.origin(offer.source)
            messages.warn(
                f"{origin} already has a sampler {name}: with both installed, each is chosen by "
                "its full name"
            )


def _write(folder: Path, words: Mapping[str, str]) -> None:
    """Write the files into a new folder."""
    templates = resources.files("corelm.cli") / "template"
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UsageError(
            f"{folder} already exists; choose another name, or another folder with --into"
        ) from None
    for template, file in FILES.items():
        text = (templates / f"{template}.txt").read_text("utf-8")
        path = folder / Template(file).substitute(words)
        path.write_text(Template(text).substitute(words), "utf-8")
