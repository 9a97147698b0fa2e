"""`corelm plugins new`: create a package that offers a sampler or something else."""

from __future__ import annotations

import keyword
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from corelm.cli.output import describe, messages
from corelm.cli.output.product import product
from corelm.cli.plugin_commands import CommandRegistry
from corelm.errors import UsageError
from corelm.hookspecs import API_VERSION
from corelm.plugins.loading import OWN
from corelm.plugins.registry import COMMANDS, Registry, registry

PREFIX = "corelm_"
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
FILES = {
    "pyproject.toml": "pyproject.toml",
    "module.py": "$module.py",
    "test.py": "test_$name.py",
    "README.md": "README.md",
}
"""The files of the package, by the template of each."""
CORELM = '"corelm>=$version"'


@dataclass(frozen=True)
class Kind:
    """One kind of thing that a package can offer.

    Attributes:
        name: the word for it, which is also the folder of its templates.
        hook: the hook that returns it.
        example: a name that it might have.
        attempt: the command that tries it.
        group: the group of its entry point.
        dependencies: the packages that it needs, as pyproject.toml has them.
        lint: a section for ruff.
    """

    name: str
    hook: str
    example: str
    attempt: str
    group: str = "corelm"
    dependencies: str = CORELM
    lint: str = ""


SAMPLER = Kind(
    "sampler",
    "corelm_samplers",
    "top_a",
    "corelm samplers $name",
    lint='[tool.ruff.lint]\nignore = ["RUF012"] # corelm freezes the attributes of a sampler',
)
DECODER = Kind("decoder", "corelm_decoders", "sure_start", "corelm decoders $name")
MODEL = Kind("model", "corelm_models", "letters", 'corelm sample "the cat" --model $name')
METRIC = Kind("metric", "corelm_metrics", "words_per_text", "corelm report greedy --metric $name")
COMMAND = Kind(
    "command",
    COMMANDS,
    "next_entropy",
    "corelm $entry --help",
    group='"corelm.commands"',
    dependencies=f'{CORELM}, "typer>=0.29"',
)


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of what it offers.")],
    sampler: Annotated[
        bool, typer.Option("--sampler", help="The package offers a sampler (the default).")
    ] = False,
    decoder: Annotated[
        bool, typer.Option("--decoder", help="The package offers a decoder.")
    ] = False,
    model: Annotated[bool, typer.Option("--model", help="The package offers a model.")] = False,
    metric: Annotated[bool, typer.Option("--metric", help="The package offers a metric.")] = False,
    command: Annotated[
        bool, typer.Option("--command", help="The package adds a command to corelm.")
    ] = False,
    into: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="The folder to create the package in. Default: the current one.",
        ),
    ] = None,
) -> None:
    """Create a package to start from, with a sampler, decoder, model, metric or command.

    Its folder is printed. The package can be installed and passes its tests as it is.

    \b
    corelm plugins new top_a
    corelm plugins new sure_start --decoder
    pip install -e ./corelm-top-a
    """
    flags = {
        SAMPLER: sampler, DECODER: decoder, MODEL: model, METRIC: metric, COMMAND: command,
    }  # fmt: skip
    chosen = [kind for kind, given in flags.items() if given] or [SAMPLER]
    if len(chosen) > 1:
        names = " or ".join(f"--{kind.name}" for kind in chosen)
        raise UsageError(f"{names}, not both: a package to start from offers one thing")
    [kind] = chosen
    words = named(name, kind)
    with product() as out:
        _warn_of_namesakes(words["entry"], kind)
        folder = Path(into or "") / words["package"]
        _write(folder, words, kind)
        out.text(f"{folder}\n")
    attempt = Template(kind.attempt).substitute(words)
    messages.note(f"try it: pip install -e {folder}; pytest {folder}; {attempt}")


def named(given: str, kind: Kind = SAMPLER) -> dict[str, str]:
    """Return the words that the templates leave open, such as the names of class and module.

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
            f"{given!r} cannot name a {kind.name}: use letters, digits and single _, begin with a "
            f"letter, and avoid Python's keywords; for example {kind.example}"
        )
    from importlib.metadata import version  # takes 13 ms

    module = PREFIX + name
    words = {
        "name": name,
        "entry": name.replace("_", "-") if kind is COMMAND else name,  # typed on a command line
        "cls": cls,
        "module": module,
        "package": module.replace("_", "-"),
        "version": ".".join(version("corelm").split(".")[:2]),
        "api": str(API_VERSION),
        "kind": kind.name,
        "group": kind.group,
        "lint": kind.lint,
    }
    return words | {"dependencies": Template(kind.dependencies).substitute(words)}


def _warn_of_namesakes(name: str, kind: Kind) -> None:
    known: Registry = CommandRegistry() if kind is COMMAND else registry()
    for offer in known.offers(kind.hook):
        if offer.name == name:
            origin = describe.origin(offer.source)
            which = "each is chosen by its full name"
            if offer.source.distribution == OWN:
                which = "the bare name stays corelm's, and yours is chosen by its full name"
            messages.warn(
                f"{origin} already has a {kind.name} {name}: with both installed, {which}"
            )


def _write(folder: Path, words: Mapping[str, str], kind: Kind) -> None:
    """Write the files into a new folder; none is left if one cannot be written."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UsageError(
            f"{folder} already exists; choose another name, or another folder with --into"
        ) from None
    try:
        for name, text in _contents(words, kind).items():
            (folder / name).write_text(text, "utf-8")
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            error.filename = str(folder)
        raise


def _contents(words: Mapping[str, str], kind: Kind) -> dict[str, str]:
    """Return the text of each file by its name."""
    templates = resources.files("corelm.cli") / "template"
    contents = {}
    for template, name in FILES.items():
        own = templates / kind.name / f"{template}.txt"
        text = (own if own.is_file() else templates / f"{template}.txt").read_text("utf-8")
        filled = Template(text).substitute(words).rstrip() + "\n"
        contents[Template(name).substitute(words)] = filled
    return contents
