"""The dependencies of results: digests of the code that computes them, and hashes of secrets.

An edited copy of the same version counts as other code.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import metadata
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from corelm.contracts.params import Parameterized
from corelm.registry import loading
from corelm.registry.models import plugin_of
from corelm.registry.registry import registry

SUFFIXES = (*SOURCE_SUFFIXES, *EXTENSION_SUFFIXES)
DATA, VERSION, NAMED, CLASS = "data of ", "version of ", "named ", "class "
"""Before a distribution, one that it requires, a path that a parameter names, or the class or
function that an entry point offers, in digests."""
RESULTS = ("study.json", "registration.json")
"""Files in a folder of results: these would change with each run."""
_IGNORED = re.compile(r"(^|[/\\])(\.|__pycache__|__editable__)|\.(egg|dist)-info")
BUILT, PROJECT = ("build", "dist"), "pyproject.toml"
"""Folders of build tools, next to the file that names a project."""
SCRIPTS = ("bin", "Scripts")
"""Folders of scripts, which have paths of this machine."""
OWN = ("corelm", "corelm_samplers")
"""The packages that every computation uses."""
DIGITS = 16
MISSING = "none"
"""The digest of a package that is missing or has no files."""


def digests(packages: Iterable[str]) -> dict[str, str]:
    """Return the digest of each package in this environment, sorted by name.

    Args:
        packages: names; one may begin with `DATA`, `VERSION`, `NAMED` or `CLASS`.
    """
    return {name: _digest(name) for name in sorted(packages)}


def _packages(thing: Any) -> Iterator[str]:
    """Yield the top-level packages of a function, or of a value's class, bases and loader.

    A plugin's class or function is named, too: its entry point may offer another one tomorrow.
    """
    thing = getattr(thing, "unlifted", thing)  # the model itself, not corelm's wrapper
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    classes = [thing] if hasattr(thing, "__module__") and callable(thing) else []
    for each in (*classes, *type(thing).__mro__):
        package = (each.__module__ or "").partition(".")[0]
        if package and package not in sys.stdlib_module_names:
            yield package
            if each is named and package not in OWN:
                yield f"{CLASS}{each.__module__}.{each.__qualname__}"
    if loader := plugin_of(thing):
        yield _package(loader.value)


def _package(module: str) -> str:
    """Return the top-level package in the name of a module or in an entry point's value."""
    return re.split(r"[.:]", module)[0]


def _of_the_same_plugins(packages: set[str]) -> Iterator[str]:
    """Yield the modules, data and requirements of the plugins that these packages belong to."""
    for plugin in {source.distribution for source in registry().sources()} - {loading.OWN}:
        modules = _modules(plugin)
        if not modules.isdisjoint(packages):
            yield from modules
            if _data_of(plugin):
                yield f"{DATA}{plugin}"
            yield from (f"{VERSION}{each}" for each in _required(plugin))


@cache
def _installed(distribution: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(distribution)
    except (metadata.PackageNotFoundError, ValueError):
        return None


def _required(distribution: str) -> set[str]:
    """Return the distributions that one requires itself, but for corelm and for its extras."""
    installed = _installed(distribution)
    lines = (installed.requires or ()) if installed else ()
    own = (line for line in lines if not re.search(r";.*\bextra\b", line))
    return {re.split(r"[^\w.-]", line)[0] for line in own} - {loading.OWN}


@cache
def _modules(distribution: str) -> frozenset[str]:
    """Return the top-level modules of a distribution; none if its metadata does not list them."""
    if (installed := _installed(distribution)) is None:
        return frozenset()
    # The finder of an editable installation contains paths of this machine, and some of these list
    # nothing more: their entry points name the modules.
    offered = frozenset(_package(point.value) for point in installed.entry_points)
    listed = installed.read_text("top_level.txt")
    if listed is not None:
        return offered.union(listed.split())
    code = (file.parts[0] for file in installed.files or () if file.name.endswith(SUFFIXES))
    return offered.union(
        n.partition(".")[0] for n in code if not n.startswith((".", "__editable__"))
    )


@cache
def _data_of(distribution: str) -> tuple[str, ...]:
    """Return the paths of a distribution's files outside its modules.

    Of an editable installation this is its folder: a plugin of one module reads files next to it.
    """
    if (installed := _installed(distribution)) is None:
        return ()
    if folder := _editable_folder(installed):
        return (folder,)
    modules = {*_modules(distribution), *(f"{name}.py" for name in _modules(distribution))}
    listed = (file for file in installed.files or () if file.parts[0] not in modules)
    # Data may lie outside site-packages, such as `../../../share/boost.json`.
    names = ((file, str(file).removeprefix("../" * file.parts.count(".."))) for file in listed)
    data = (file for file, name in names if not _IGNORED.search(name))
    return tuple(str(file.locate()) for file in data if file.parent.name not in SCRIPTS)


def _editable_folder(distribution: metadata.Distribution) -> str | None:
    """Return the folder of an editable installation; None for another one."""
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return url2pathname(urlsplit(origin["url"]).path)


def _digest(package: str) -> str:
    if package.startswith(DATA):
        return _digest_of(_data_of(package.removeprefix(DATA)))
    if package.startswith(NAMED):
        return _digest_of((package.removeprefix(NAMED),))
    if package.startswith(VERSION):
        installed = _installed(package.removeprefix(VERSION))
        folder = _editable_folder(installed) if installed else None
        version = installed.version if installed else MISSING
        return f"{version} {_digest_of((folder,))}" if folder else version
    if package.startswith(CLASS):
        return MISSING
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # the script that runs has no spec
        spec = None
    if spec is None:
        return MISSING
    file = (spec.origin,) if spec.has_location and spec.origin else ()
    folders = spec.submodule_search_locations
    return _digest_of(file if folders is None else tuple(folders))


# Once per process: a module that is edited after its import still runs the old code.
@cache
def _digest_of(roots: tuple[str, ...]) -> str:
    whole = hashlib.sha256()
    files = sorted(pair for root in roots for pair in _files(Path(root)))
    for name, file in files:
        whole.update(f"{name}\n".encode("utf-8", "surrogatepass"))
        with open(file, "rb") as opened:  # data may be larger than the memory
            whole.update(hashlib.file_digest(opened, "sha256").digest())
    return whole.hexdigest()[:DIGITS] if files else MISSING


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of a folder with their relative paths; a single file yields itself."""
    if not root.is_dir():  # a module in an archive has the archive's digest
        file = next((each for each in (root, *root.parents) if each.exists()), root)
        if file.is_file():
            yield root.name, file
        return
    walked = set()  # a link may lead back, and a project's lead anywhere
    for folder, folders, names in os.walk(root, followlinks=not (root / PROJECT).exists()):
        walked.add(os.path.realpath(folder))
        inner = Path(folder).relative_to(root)
        inside = [each for each in folders if not _is_ignored(Path(folder, each))]
        folders[:] = [n for n in inside if os.path.realpath(Path(folder, n)) not in walked]
        for name in names:
            if not _IGNORED.search(name) and Path(folder, name).is_file():
                yield (inner / name).as_posix(), Path(folder, name)


def _is_ignored(folder: Path) -> bool:
    """Return True for a folder that computes nothing: hidden, built, or of results."""
    if folder.name in BUILT and (folder.parent / PROJECT).exists():
        return True
    marks = ("pyvenv.cfg", *RESULTS)
    return bool(_IGNORED.search(folder.name)) or any((folder / mark).exists() for mark in marks)


PREFIX = "env:"
"""The prefix of a value that names an environment variable."""
ROUNDS = 200_000
"""Iterations of the hash, so that each guess at a short secret costs a tenth of a second."""


class Dependencies:
    """The dependencies of a result besides its settings: the code that computes it, and secrets.

    Args:
        things: the models, samplers, decoders and functions of the computation.
        modules: further modules of it, such as the module that offers a metric.

    Attributes:
        things, modules: as given.

    Example:
        >>> import corelm
        >>> of_greedy = Dependencies([corelm.sampler("greedy")])
        >>> sorted(of_greedy.code), of_greedy.secrets
        (['corelm', 'corelm_samplers'], {})
    """

    def __init__(self, things: Iterable[Any], modules: Iterable[str] = ()) -> None:
        self.things: list[Any] = [*things]
        self.modules: list[str] = [*modules]

    @property
    def code(self) -> dict[str, str]:
        """The digest of each package that computes, by name.

        A plugin counts with all its modules, as one may call functions of another, and with the
        other files of its distribution, such as data, under a name of their own, and the versions
        that it requires. The plugin that loaded a model counts too, and so does a path or a module
        that a parameter names. What a plugin reads elsewhere, such as the network, isn't seen.
        """
        named = {_package(module) for module in self.modules} - {""}
        all_parts = (t.parts() if isinstance(t, Parameterized) else (t,) for t in self.things)
        packages = named.union(*(_packages(part) for parts in all_parts for part in parts))
        packages |= {each for thing in self.things for each in _named(thing)}
        return digests({*OWN, *packages, *_of_the_same_plugins(packages.difference(OWN))})

    @property
    def secrets(self) -> Mapping[str, str]:
        """A hash of the value of each environment variable that samplers read, by its name.

        An expression shows the name, as in `env:NAME`, so that two runs with different values look
        alike. A slow hash of the value distinguishes them without giving it away.
        """
        names = sorted({name for thing in self.things for name in _variables(thing)})
        return {name: hash_of_variable(name) for name in names}


def hash_of_variable(name: str) -> str:
    """Return a hash of the value of an environment variable; an unset one counts as empty."""
    value = os.environ.get(name, "").encode(errors="surrogateescape")
    return hashlib.pbkdf2_hmac("sha256", value, name.encode(), ROUNDS, 8).hex()


def _named(thing: Any) -> Iterator[str]:
    """Yield the files, folders and packages that the parameters of a sampler or decoder name."""
    for text, is_local in _texts(thing):
        if is_local and text and not text.startswith(PREFIX):
            package, colon, rest = text.partition(":")  # SCHEME:PATH or MODULE:FUNCTION
            paths = [each for each in (text, rest) if each and os.path.exists(each)]
            yield from (f"{NAMED}{each}" for each in paths)
            if colon and not paths:
                yield _package(package)


def _variables(thing: Any) -> Iterator[str]:
    for text, _ in _texts(thing):
        if text.startswith(PREFIX):
            yield text.removeprefix(PREFIX)


def _texts(thing: Any) -> Iterator[tuple[str, bool]]:
    """Yield the texts among the parameters, and if they name something of this machine."""
    for part in thing.parts() if isinstance(thing, Parameterized) else ():
        for parameter in part.parameters():
            value = getattr(part, parameter.name)
            for text in value if isinstance(value, tuple) else (value,):
                if isinstance(text, str):
                    yield text, parameter.rule.local
