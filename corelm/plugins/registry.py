"""Find plugins, load each one safely and only when it is wanted.

A plugin is an entry point of the group `corelm`, named after what it offers. Listing the names
imports nothing; asking for a name imports the module of that name, and the others only when no
entry point has it. A plugin that fails is set aside with its reason and the others work.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from corelm import hookspecs
from corelm.decoder import Decoder
from corelm.decoding.step import Step
from corelm.errors import AmbiguousNameError, CorelmError, PluginError, UnknownNameError
from corelm.language_model import LanguageModel
from corelm.params import Parameterized
from corelm.sampler import Sampler

GROUP = "corelm"
OWN = "corelm"
NAME = re.compile(r"[\w.\-]+")
OBSERVER = "corelm_next_token"
BASES: dict[str, type[Parameterized] | None] = {
    "corelm_samplers": Sampler,
    "corelm_decoders": Decoder,
    "corelm_models": None,
}
"""The hooks that offer something under a name, and the class that it inherits."""
HOOKS = (*BASES, OBSERVER)

logger = logging.getLogger("corelm")


@dataclass(frozen=True)
class Source:
    """Where a plugin comes from: the distribution, its version, the entry point in it."""

    distribution: str
    version: str
    entry_point: str
    value: str = ""

    def __str__(self) -> str:
        return f"{self.distribution}:{self.entry_point}"


@dataclass(frozen=True)
class Offer:
    """One thing that a plugin offers under a name."""

    name: str
    value: Any
    source: Source

    @property
    def full_name(self) -> str:
        """The name that is never ambiguous, such as `corelm-nucleus:top_p`."""
        return f"{self.source.distribution}:{self.name}"


class Registry:
    """The plugins that are installed, and what those that were loaded offer.

    Args:
        points: the entry points to consider; the installed ones when left out.
        strict: whether a plugin that fails raises instead of being set aside.
    """

    def __init__(self, points: list[EntryPoint] | None = None, strict: bool | None = None) -> None:
        found = list(entry_points(group=GROUP)) if points is None else points
        self._points = {source: point for source, point in _sources(found) if _wanted(source)}
        self._strict = os.environ.get("CORELM_STRICT_PLUGINS") == "1" if strict is None else strict
        self._offered: dict[Source, dict[str, list[Offer]]] = {}
        self._silenced: set[str] = set()
        self.failures: dict[Source, str] = {}
        """The plugins that could not be loaded, each with its reason."""
        self._manager = pluggy.PluginManager("corelm")
        self._manager.add_hookspecs(hookspecs)

    def sources(self) -> list[Source]:
        """Every plugin that is installed, loaded or not."""
        return sorted(self._points, key=str)

    def register(self, plugin: Any, name: str = "this process") -> None:
        """Add an object with hooks by hand, as a notebook or a test does."""
        source = Source(name, "", getattr(plugin, "__name__", type(plugin).__name__))
        self._admit(source, plugin)

    def load(self, source: Source) -> bool:
        """Load one plugin, once. False when it failed; `failures` then has the reason."""
        if source not in self._offered and source not in self.failures:
            try:
                self._admit(source, _import(self._points[source]))
            except PluginError as error:
                self.failures[source] = str(error)
                self._warn(source, str(error))
        return source in self._offered

    def load_all(self) -> None:
        """Load every plugin."""
        for source in self.sources():
            self.load(source)

    def samplers(self) -> list[Offer]:
        """All samplers; loads every plugin."""
        return self._all("corelm_samplers")

    def decoders(self) -> list[Offer]:
        """All decoders; loads every plugin."""
        return self._all("corelm_decoders")

    def models(self) -> list[Offer]:
        """All models that plugins offer; loads every plugin."""
        return self._all("corelm_models")

    def sampler(self, name: str) -> type[Sampler]:
        """The sampler class of a name, or of a full name such as `corelm-nucleus:top_p`."""
        cls: type[Sampler] = self._class(self.find("corelm_samplers", name), name)
        return cls

    def decoder(self, name: str) -> type[Decoder]:
        """The decoder class of a name or full name."""
        cls: type[Decoder] = self._class(self.find("corelm_decoders", name), name)
        return cls

    def model(self, name: str) -> Callable[[], LanguageModel]:
        """The function that loads the model of a name or full name."""
        loader: Callable[[], LanguageModel] = self.find("corelm_models", name).value
        return loader

    def observe(self, step: Step) -> None:
        """Show a step to every observer; one that raises is set aside."""
        for impl in self._manager.hook.corelm_next_token.get_hookimpls():
            if impl.plugin_name in self._silenced:
                continue
            try:
                with _as_plugin_error():
                    impl.function(step) if impl.argnames else impl.function()
            except PluginError as error:
                self._silenced.add(impl.plugin_name)
                self._warn(impl.plugin_name, f"at step {step.position}: {error}")

    def load_observers(self) -> bool:
        """Load the plugins that want to see every step: entry points named `corelm_next_token`."""
        for source in self.sources():
            if source.entry_point == OBSERVER:
                self.load(source)
        return bool(self._manager.hook.corelm_next_token.get_hookimpls())

    def find(self, hook: str, name: str) -> Offer:
        """The one offer of a name.

        Raises:
            UnknownNameError: nobody offers it; the message has the nearest names.
            AmbiguousNameError: several do; the message has their full names.
        """
        distribution, _, short = name.rpartition(":")
        mine = [s for s in self.sources() if distribution in ("", s.distribution)]
        offers = self._offers(hook, short, [s for s in mine if s.entry_point == short])
        offers = offers or self._offers(hook, short, mine)
        offers += [o for o in self._by_hand(hook) if o.name == short and not distribution]
        offers = _distinct(offers)
        if len(offers) > 1:
            names = " or ".join(sorted(offer.full_name for offer in offers))
            raise AmbiguousNameError(
                f"{len(offers)} plugins offer {name!r}; say which one: {names}"
            )
        if not offers:
            raise UnknownNameError(self._unknown(hook, name))
        return offers[0]

    def _offers(self, hook: str, name: str, sources: list[Source]) -> list[Offer]:
        return [
            o for s in sources if self.load(s) for o in self._offered[s][hook] if o.name == name
        ]

    def _all(self, hook: str) -> list[Offer]:
        self.load_all()
        offers = [offer for offered in self._offered.values() for offer in offered[hook]]
        return sorted(_distinct(offers), key=lambda o: (o.name, o.full_name))

    def _by_hand(self, hook: str) -> list[Offer]:
        sources = [source for source in self._offered if source not in self._points]
        return [offer for source in sources for offer in self._offered[source][hook]]

    def _class(self, offer: Offer, name: str) -> Any:
        # Its expression is then the name that it can be found by again.
        offer.value.name = name
        return offer.value

    def _admit(self, source: Source, plugin: Any) -> None:
        # Two entry points may name one module: it is registered once, and offered under both.
        known = self._manager.is_registered(plugin)
        try:
            with _as_plugin_error():
                _check_version(plugin)
                if not known:
                    self._manager.register(plugin, name=str(source))
                    self._check_hooks(plugin)
                self._offered[source] = {hook: self._ask(hook, source, plugin) for hook in BASES}
        except PluginError:
            if not known and self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            raise

    def _check_hooks(self, plugin: Any) -> None:
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise PluginError(f"not a plugin: {error}; the hooks are {', '.join(HOOKS)}") from error
        if not self._manager.get_hookcallers(plugin):
            raise PluginError(
                "not a plugin: no function in it is marked with @corelm.hookimpl; "
                f"the hooks are {', '.join(HOOKS)}"
            )

    def _ask(self, hook: str, source: Source, plugin: Any) -> list[Offer]:
        """What a plugin offers through one hook, checked."""
        impls = getattr(self._manager.hook, hook).get_hookimpls()
        answers = [impl.function() for impl in impls if impl.plugin is plugin]
        offers = []
        for answer in answers:
            if not isinstance(answer, Mapping):
                raise PluginError(
                    f"not a plugin: {hook} returned {answer!r}, not a mapping from names"
                )
            offers += [Offer(name, value, source) for name, value in answer.items()]
        for offer in offers:
            _check_offer(offer, BASES[hook])
        return offers

    def _warn(self, plugin: Source | str, reason: str) -> None:
        message = f"plugin {plugin} was left out: {reason}"
        if self._strict:
            raise PluginError(message)
        logger.warning("%s", message)

    def _unknown(self, hook: str, name: str) -> str:
        kind = {"corelm_samplers": "sampler", "corelm_decoders": "decoder"}.get(hook, "model")
        for source, reason in self.failures.items():
            if name in (source.entry_point, str(source)):
                return f"the {kind} {name!r} cannot be used: plugin {source} failed: {reason}"
        names = sorted({offer.name for offer in self._all(hook)})
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"there is no {kind} {name!r}{hint} (there are: {', '.join(names) or 'none'})"


@cache
def registry() -> Registry:
    """The plugins of this process."""
    return Registry()


def _sources(points: Sequence[EntryPoint]) -> Iterator[tuple[Source, EntryPoint]]:
    """Each entry point with where it comes from.

    The name and version of a distribution are read and parsed from a file each time that they
    are asked for, so each distribution is asked once.
    """
    releases: dict[int, tuple[str, str]] = {}
    for point in points:
        distribution = point.dist
        if id(distribution) not in releases:
            release = (distribution.name, distribution.version) if distribution else ("unknown", "")
            releases[id(distribution)] = release
        yield Source(*releases[id(distribution)], point.name, point.value), point


def _wanted(source: Source) -> bool:
    """Whether `CORELM_PLUGINS` lets a plugin load; corelm's own always do."""
    setting = os.environ.get("CORELM_PLUGINS")
    if setting is None or source.distribution == OWN:
        return True
    names = {name.strip() for name in setting.split(",")}
    return bool(names & {source.distribution, source.entry_point, str(source)})


def _distinct(offers: list[Offer]) -> list[Offer]:
    """Offers without those that came twice, from two entry points to one module."""
    return list({(offer.full_name, id(offer.value)): offer for offer in offers}.values())


def _import(point: EntryPoint) -> Any:
    with _as_plugin_error():
        return point.load()


@contextlib.contextmanager
def _as_plugin_error() -> Iterator[None]:
    """Run a plugin's code: whatever it raises is a `PluginError`, in one line.

    What it prints goes to stderr, since stdout carries the product.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except CorelmError as error:
        raise PluginError(_printable(str(error))) from error
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise PluginError(_printable(reason)) from error


def _printable(text: str) -> str:
    """A plugin's words without what a terminal would obey."""
    return "".join(character for character in text if character.isprintable())


def _check_version(plugin: Any) -> None:
    made_for = getattr(plugin, "CORELM_API_VERSION", hookspecs.API_VERSION)
    if made_for != hookspecs.API_VERSION:
        raise PluginError(
            f"made for version {made_for} of the plugin contract, this corelm has version "
            f"{hookspecs.API_VERSION}; install a release of the two that match"
        )


def _check_offer(offer: Offer, base: type[Parameterized] | None) -> None:
    name, value = offer.name, offer.value
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise PluginError(f"the name {name!r} cannot be typed; use letters, digits, _ . and -")
    if base is None:
        return
    kind = base.__name__.lower()
    if not inspect.isclass(value):
        raise PluginError(f"not a {kind}: {name} is {value!r}, not a class")
    if not issubclass(value, base):
        raise PluginError(f"not a {kind}: {value.__name__} does not inherit corelm.{base.__name__}")
    if inspect.isabstract(value):
        raise PluginError(f"not a {kind}: {value.__name__} has no __call__")
    value.parameters()


def offers_by_name(offers: list[Offer]) -> Mapping[str, list[Offer]]:
    """Offers grouped by name: a name with two of them is ambiguous."""
    grouped: dict[str, list[Offer]] = {}
    for offer in offers:
        grouped.setdefault(offer.name, []).append(offer)
    return grouped
