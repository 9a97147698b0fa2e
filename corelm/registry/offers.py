"""The offers of installed packages: entry points, the objects behind them, checks, docstrings.

Importing `importlib.metadata` takes 15 ms, and it then parses the whole metadata of every package.
Here the files `entry_points.txt` in the folders of `sys.path` are read. Everything unusual, such as
a zip file on the path or an object in another object's module, is left to `importlib.metadata`.

An entry point of the group `corelm.folders` names a package whose modules are entry points of the
group `corelm`, each of its own name: a package of many samplers has no list of them.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeGuard

from corelm.errors import ParameterError, PluginError
from corelm.text.printable import shown

if TYPE_CHECKING:
    from corelm.contracts.language_model import ModelScheme
    from corelm.contracts.params import Parameterized

MODULE = re.compile(r"[\w.]+")


class EntryPoint(NamedTuple):
    """A named object of a distribution, such as a plugin; the object is usually a module."""

    name: str
    value: str
    group: str
    distribution: str = "unknown"
    version: str = ""

    def load(self) -> Any:
        """Import the object."""
        if MODULE.fullmatch(self.value):
            return import_module(self.value)
        from importlib import metadata

        point = metadata.EntryPoint(self.name, self.value, self.group)
        if not point.pattern.match(self.value):
            raise PluginError(
                f"the entry point {self.name} = {self.value} names no module; write module or "
                "module:object"
            )
        return point.load()


GROUPS = ("corelm", "corelm.commands", "corelm.folders", "corelm.logs", "corelm.records")
"""The groups of entry points of corelm and its packages."""
FOLDERS = ".folders"
"""The suffix of groups whose entry points are packages; each module in them is an entry point."""


def without_entry_points() -> list[str]:
    """Return the distributions that need corelm, with no entry point or only unread groups."""
    from importlib import metadata

    names = set()
    for each in metadata.distributions():
        needs = any(re.match(r"corelm(?![\w.-])", line) for line in each.requires or ())
        groups = {point.group for point in each.entry_points}
        if needs and all(name.startswith("corelm") and name not in GROUPS for name in groups):
            names.add(each.metadata["Name"])
    return sorted(names)


def entry_points(group: str) -> list[EntryPoint]:
    """Return the entry points of a group, and the modules of the packages in its folders.

    Of several distributions with one name, the first on the path counts.
    """
    groups = group, group + FOLDERS
    points = _by_files(groups) if _is_plain_path() else _by_importlib(groups)
    return [each for point in points for each in _modules(point, group)]


def _modules(point: EntryPoint, group: str) -> list[EntryPoint]:
    """Return an entry point for each module of a folder's package; other points alone.

    Nothing is imported, not even the package.
    """
    if point.group == group:
        return [point]
    spec = find_spec(point.value)
    folders = (spec and spec.submodule_search_locations) or ()
    names = sorted(name for folder in folders for name in _names(folder) if name[0] != "_")
    return [point._replace(name=n, value=f"{point.value}.{n}", group=group) for n in names]


def _names(folder: str) -> list[str]:
    try:
        return [name[:-3] for name in os.listdir(folder) if name.endswith(".py")]
    except OSError:  # in a zip file
        from pkgutil import iter_modules

        return [module.name for module in iter_modules([folder])]


def _by_files(groups: Sequence[str]) -> list[EntryPoint]:
    names, points = set(), []
    for folder in sys.path:
        for info in _infos(folder or "."):
            # `A_b` and `a-b` are one distribution; the one found first hides the other.
            name = re.sub("[-_.]+", "-", info.rpartition(".")[0].partition("-")[0]).lower()
            if name not in names:
                names.add(name)
                points += _points(os.path.join(folder, info), groups)
    return points


def _is_plain_path() -> bool:
    """Return True if all distributions lie in folders of the path."""
    # Zip files and eggs hold distributions too, and importlib.metadata reads those.
    files = any(os.path.isfile(place) or place.endswith(".egg") for place in sys.path)
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_distributions")]
    # Dask imports the package importlib_metadata, whose finder takes the place of Python's own.
    return not files and all(
        finder is PathFinder or type(finder).__module__ == "importlib_metadata"
        for finder in finders
    )


def _by_importlib(groups: Sequence[str]) -> list[EntryPoint]:
    from importlib import metadata

    return [
        EntryPoint(point.name, point.value, group, point.dist.name, point.dist.version)
        if point.dist
        else EntryPoint(point.name, point.value, group)
        for group in groups
        for point in metadata.entry_points(group=group)
    ]


def _infos(folder: str) -> list[str]:
    """Return the names of the metadata folders in a folder of the path."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return [name for name in names if name.lower().endswith((".dist-info", ".egg-info"))]


def _points(info: str, groups: Sequence[str]) -> list[EntryPoint]:
    rows = list(_rows(_lines(os.path.join(info, "entry_points.txt")), groups))
    # Few distributions have the groups: only theirs have to be opened for the name and version.
    if not rows:
        return []
    fields = _fields(info)
    release = fields.get("name", "unknown"), fields.get("version", "")
    return [EntryPoint(*row, *release) for row in rows]


def _rows(lines: list[str], groups: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield the names and values in some sections of a file, each with its section."""
    section = ""
    for line in map(str.strip, lines):
        if line.startswith("[") and line.endswith("]"):
            section = line.strip("[]")
        elif section in groups and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield name.strip(), value.strip(), section


def _fields(info: str) -> dict[str, str]:
    """Return the fields of a distribution's metadata that take one line, by name in lower case."""
    lines = _lines(os.path.join(info, "METADATA")) or _lines(os.path.join(info, "PKG-INFO"))
    # A long description follows the blank line.
    end = lines.index("") if "" in lines else len(lines)
    pairs = (line.partition(":") for line in reversed(lines[:end]))  # the first of a name counts
    return {name.lower(): value.strip() for name, _, value in pairs}


def _lines(file: str) -> list[str]:
    try:
        with open(file, encoding="utf-8", errors="replace") as opened:
            return opened.read().splitlines()
    except OSError:
        return []


NAME = re.compile(r"[\w.\-]+")


class Source(NamedTuple):
    """The origin of a plugin: a distribution, its version, an entry point in it."""

    distribution: str
    version: str
    entry_point: str
    value: str = ""

    def __str__(self) -> str:
        return f"{self.distribution}:{self.entry_point}"


class Offer(NamedTuple):
    """One thing that a plugin offers under a name."""

    name: str
    value: Any
    source: Source

    @property
    def full_name(self) -> str:
        """The name that is never ambiguous, such as `corelm-nucleus:top_p`."""
        return f"{self.source.distribution}:{self.name}"


Check: TypeAlias = Callable[[Offer], None]
"""Raises a `PluginError` for something that must not be offered."""


def check_name(offer: Offer) -> None:
    """Raise if a name cannot be typed in an expression or a command."""
    if type(offer.name) is not str or not NAME.fullmatch(offer.name):
        raise PluginError(
            f"the name {shown(offer.name)} cannot be typed; use letters, digits, _ . and -"
        )


# Each check imports its contract late: a command that names no sampler and no model loads none of
# the arithmetic behind them.


def check_sampler(offer: Offer) -> None:
    """Raise if a sampler is not a complete subclass of `Sampler`."""
    from corelm.contracts.sampling import Sampler

    _check_class(offer, Sampler, "sampler")


def check_decoder(offer: Offer) -> None:
    """Raise if a decoder is not a complete subclass of `Decoder`."""
    from corelm.contracts.decoder import Decoder

    _check_class(offer, Decoder, "decoder")


def check_model(offer: Offer) -> None:
    """Raise if a model is neither a function without arguments nor a scheme."""
    from corelm.contracts.language_model import ModelScheme

    scheme = offer.value if isinstance(offer.value, ModelScheme) else None
    loader = scheme.open if scheme else offer.value
    if not callable(loader):
        raise PluginError(
            f"not a model: {offer.name} is {shown(offer.value)}, not a function that loads one "
            "and not a ModelScheme"
        )
    options = scheme.options if scheme else ()
    if isinstance(options, str):
        raise PluginError(f"not a model: the options of {offer.name} are {options!r}; write a set")
    arguments = [scheme.metavar] if scheme else []
    try:
        inspect.signature(loader).bind(*arguments, **dict.fromkeys(options))
    except ValueError:  # a function of C, which has no signature
        pass
    except TypeError as error:
        needs = ", ".join([*map(repr, arguments), *(f"{name}=..." for name in options)])
        raise PluginError(f"not a model: {offer.name} is called with ({needs}): {error}") from error


def check_metric(offer: Offer) -> None:
    """Raise if a metric is not a complete subclass of one of the four kinds, with a meaning."""
    from corelm.contracts.metric import KINDS, Metric

    _check_class(offer, Metric, "metric", *KINDS)
    wrong, meaning, limits = f"not a metric: {offer.name}", offer.value.meaning, offer.value.limits
    if sum(issubclass(offer.value, kind) for kind in KINDS) > 1:
        raise PluginError(f"{wrong} is of several kinds; offer a class for each")
    if not isinstance(meaning, property):
        check_meaning(wrong, meaning)
    is_pair = (
        isinstance(limits, tuple) and [isinstance(each, Real) for each in limits] == [True] * 2
    )
    if not (limits is None or isinstance(limits, property) or (is_pair and limits[0] < limits[1])):
        raise PluginError(
            f"not a metric: the limits of {offer.name} are {shown(limits)}; they are a pair, the "
            "least and the largest value"
        )


def check_meaning(wrong: str, meaning: object) -> None:
    """Raise unless the definition of a metric fits into the tables of reports."""
    if not isinstance(meaning, str) or not meaning.strip():
        raise PluginError(f"{wrong} has no meaning; define it in a few words")
    if len(meaning) > LONGEST_MEANING or len(meaning.splitlines()) > 1:
        raise PluginError(
            f"{wrong} has a meaning of {len(meaning)} characters in {len(meaning.splitlines())} "
            f"lines; write one line of at most {LONGEST_MEANING}, the rest into the docstring"
        )


LONGEST_MEANING = 150
"""The most characters of a definition in the tables of reports."""

CHECKS: Mapping[str, Check] = {
    "corelm_samplers": check_sampler,
    "corelm_decoders": check_decoder,
    "corelm_models": check_model,
    "corelm_metrics": check_metric,
}
"""The hooks of the group `corelm` that offer something under a name, and the check of each."""


def _check_class(
    offer: Offer, base: type[Parameterized], kind: str, *kinds: type[Parameterized]
) -> None:
    """Raise unless an offer is a complete subclass of its contract, or of a kind of it."""
    from dataclasses import MISSING  # late, as the contracts are

    name, value = offer.name, offer.value
    if not inspect.isclass(value):
        raise PluginError(f"not a {kind}: {name} is {shown(value)}, not a class")
    if not issubclass(value, kinds or base):
        names = " or ".join(f"corelm.{each.__name__}" for each in kinds or (base,))
        raise PluginError(f"not a {kind}: {value.__name__} does not inherit {names}")
    if inspect.isabstract(value):
        missing = ", ".join(sorted(vars(value)["__abstractmethods__"]))
        raise PluginError(f"not a {kind}: {value.__name__} has no {missing}")
    for parameter in value.parameters():  # raises for a field that isn't a valid parameter
        try:
            if parameter.default is not MISSING:
                parameter.convert(parameter.default)
        except ParameterError as error:
            raise PluginError(f"not a {kind}: the default of {value.__name__}: {error}") from error


def distinct(offers: Iterable[Offer]) -> list[Offer]:
    """Return the offers without duplicates, which two entry points to one module cause."""
    by_name: dict[str, list[Offer]] = {}
    # Lists by name instead of a set: a plugin's values may not be hashable.
    for offer in offers:
        same_name = by_name.setdefault(offer.full_name, [])
        if not any(other.value == offer.value for other in same_name):
            same_name.append(offer)
    return [offer for same_name in by_name.values() for offer in same_name]


def offers_by_name(offers: Iterable[Offer]) -> Mapping[str, list[Offer]]:
    """Group offers by name; a name with two offers is ambiguous."""
    grouped: dict[str, list[Offer]] = {}
    for offer in offers:
        grouped.setdefault(offer.name, []).append(offer)
    return grouped


def section(thing: object, title: str) -> str:
    """Return a section of a docstring on one line; empty if there is none.

    Args:
        thing: a class or a function.
        title: a regular expression for the title of the section, such as "Related".

    Example:
        >>> from corelm_samplers.top_k import TopK
        >>> section(TopK, "Related")
        'top_p, min_p.'
    """
    pattern = rf"^{title}:\s*(.*?)\s*(?:\n\n|\Z)"
    match = re.search(pattern, docstring(thing), re.MULTILINE | re.DOTALL)
    return " ".join(match[1].split()) if match else ""


def docstring(thing: object) -> str:
    """Return the author's docstring; empty for the signature that `dataclass` generates."""
    text = inspect.cleandoc(getattr(thing, "__doc__", None) or "")
    return "" if text.startswith(f"{getattr(thing, '__name__', '')}(") else text


def citation_of(thing: object) -> str:
    """Return the source that a docstring names: papers, a pull request; empty if it names none.

    Example:
        >>> from corelm_samplers.min_p import MinP
        >>> citation_of(MinP)
        'Nguyen et al. 2024, Turning up the heat: min-p sampling, arXiv 2407.01082.'
    """
    return section(thing, "Sources?")


def is_scheme(value: object) -> TypeGuard[ModelScheme]:
    """Return True for a scheme, which opens models by their paths."""
    # Late: the name of a model needs no arithmetic.
    from corelm.contracts.language_model import ModelScheme

    return isinstance(value, ModelScheme)
