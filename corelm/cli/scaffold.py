"""A package to start from, which offers a sampler or something else."""

from __future__ import annotations

import keyword
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from corelm.cli.app import COMMANDS, CommandRegistry
from corelm.cli.output import describe
from corelm.contracts.hookspecs import API_VERSION
from corelm.errors import UsageError
from corelm.registry.loading import OWN
from corelm.registry.registry import Registry, registry

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
class PackageKind:
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


FROZEN = '[tool.ruff.lint]\nignore = ["RUF012"] # corelm freezes the attributes of a sampler'
SAMPLER = PackageKind(
    "sampler",
    "corelm_samplers",
    "top_cube",
    "corelm samplers $name",
    lint=FROZEN,
)
MASK = PackageKind("mask", "corelm_samplers", "lipogram", "corelm samplers $name", lint=FROZEN)
DECODER = PackageKind("decoder", "corelm_decoders", "sure_start", "corelm decoders $name")
MODEL = PackageKind("model", "corelm_models", "letters", 'corelm sample "the cat" --model $name')
METRIC = PackageKind(
    "metric", "corelm_metrics", "words_per_text", "corelm report greedy --metric $name"
)
COMMAND = PackageKind(
    "command",
    "corelm_commands",
    "next_entropy",
    "corelm $entry --help",
    group='"corelm.commands"',
    dependencies=f'{CORELM}, "typer>=0.29"',
)
OBSERVER = PackageKind("observer", "corelm_next_token", "entropy_log", "corelm plugins")
KINDS = (SAMPLER, MASK, DECODER, MODEL, METRIC, OBSERVER, COMMAND)
IN_EXPRESSIONS = (SAMPLER, DECODER)
"""The kinds that share their names: an expression such as `top_k` may mean either."""


def named(text: str, kind: PackageKind = SAMPLER) -> dict[str, str]:
    """Return the words that the templates leave open, such as the names of class and module.

    Raises:
        UsageError: a name that cannot be typed or imported.

    Example:
        >>> names = named("Top-Cube")
        >>> names["name"], names["cls"], names["module"], names["package"]
        ('top_cube', 'TopCube', 'corelm_top_cube', 'corelm-top-cube')
    """
    name = re.sub(r"[-. ]+", "_", text.strip()).lower().removeprefix(PREFIX)
    cls = "".join(part.capitalize() for part in name.split("_"))
    if not NAME.fullmatch(name) or keyword.iskeyword(name) or keyword.iskeyword(cls):
        raise UsageError(
            f"{text!r} cannot name a {kind.name}: use letters, digits and single _, begin with a "
            f"letter, and avoid Python's keywords; for example {kind.example}"
        )
    from importlib.metadata import version  # takes 13 ms

    module, entry = PREFIX + name, name
    if kind is OBSERVER:
        entry = kind.hook  # it offers nothing that is called by a name
    elif kind is COMMAND:
        entry = name.replace("_", "-")  # typed on a command line
    words = {
        "name": name,
        "entry": entry,
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


def namesakes(name: str, kind: PackageKind) -> Iterator[str]:
    """Yield a warning for each offer of the name that is installed."""
    if kind is OBSERVER:
        return
    if kind is COMMAND and name in COMMANDS:
        yield _namesake("corelm", OWN, kind, name)
    plugins: Registry = CommandRegistry() if kind is COMMAND else registry()
    sharing = IN_EXPRESSIONS if kind in (*IN_EXPRESSIONS, MASK) else (kind,)
    for other in sharing:
        for offer in plugins.offers(other.hook):
            if offer.name == name:
                source = offer.source
                yield _namesake(describe.origin(source), source.distribution, other, name)


def _namesake(origin: str, distribution: str, kind: PackageKind, name: str) -> str:
    which = "each is chosen by its full name"
    if distribution == OWN:
        which = "the bare name stays corelm's, and yours is chosen by its full name"
    return f"{origin} already has a {kind.name} {name}: with both installed, {which}"


def write(folder: Path, words: Mapping[str, str], kind: PackageKind) -> None:
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


def _contents(words: Mapping[str, str], kind: PackageKind) -> dict[str, str]:
    """Return the text of each file by its name."""
    templates = resources.files("corelm.cli") / "template"
    contents = {}
    for template, name in FILES.items():
        own = templates / kind.name / f"{template}.txt"
        text = (own if own.is_file() else templates / f"{template}.txt").read_text("utf-8")
        filled = Template(text).substitute(words).rstrip() + "\n"
        contents[Template(name).substitute(words)] = filled
    return contents
