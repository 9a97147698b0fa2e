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
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from corelm import hookspecs
from corelm.decoder import Decoder, Step
from corelm.errors import AmbiguousNameError, CorelmError, PluginError, UnknownNameError
from corelm.language_model import LanguageModel
from corelm.params import Parameterized
from corelm.sampler import Sampler

GROUP = "corelm"
OWN = "corelm"
OBSERVER = "corelm_next_token"
HOOKS = ("corelm_samplers", "corelm_decoders", "corelm_models", OBSERVER)

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
        self._points = {_source(point): point for point in found if _wanted(_source(point))}
        self._strict = os.environ.get("CORELM_STRICT_PLUGINS") == "1" if strict is None else strict
        self._loaded: dict[Source, Any] = {}
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
        if source not in self._loaded and source not in self.failures:
            try:
                self._admit(source, _import(self._points[source]))
            except PluginError as error:
                self._set_aside(source, str(error))
        return source in self._loaded

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
        return self._class(self.find("corelm_samplers", name), name)

    def decoder(self, name: str) -> type[Decoder]:
        """The decoder class of a name or full name."""
        return self._class(self.find("corelm_decoders", name), name)

    def model(self, name: str) -> Callable[[], LanguageModel]:
        """The function that loads the model of a name or full name."""
        loader: Callable[[], LanguageModel] = self.find("corelm_models", name).value
        return loader

    def observe(self, step: Step) -> None:
        """Show a step to every observer; one that raises is set aside."""
        for impl in self._manager.hook.corelm_next_token.get_hookimpls():
            try:
                impl.function(step) if impl.argnames else impl.function()
            except Exception as error:
                logger.warning("plugin %s: %s", impl.plugin_name, _reason(error))
                self._manager.unregister(impl.plugin)

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
        if len(offers) > 1:
            names = " or ".join(sorted(offer.full_name for offer in offers))
            raise AmbiguousNameError(f"two plugins offer {name!r}; say which one: {names}")
        if not offers:
            raise UnknownNameError(self._unknown(hook, name))
        return offers[0]

    def _offers(self, hook: str, name: str, sources: list[Source]) -> list[Offer]:
        return [o for s in sources if self.load(s) for o in self._of(hook, s) if o.name == name]

    def _all(self, hook: str) -> list[Offer]:
        self.load_all()
        offers = [offer for s in self.sources() if s in self._loaded for offer in self._of(hook, s)]
        return sorted(offers + self._by_hand(hook), key=lambda o: (o.name, o.full_name))

    def _by_hand(self, hook: str) -> list[Offer]:
        sources = [source for source in self._loaded if source not in self._points]
        return [offer for source in sources for offer in self._of(hook, source)]

    def _of(self, hook: str, source: Source) -> list[Offer]:
        impls = getattr(self._manager.hook, hook).get_hookimpls()
        plugin = self._loaded[source]
        functions = [impl.function for impl in impls if impl.plugin is plugin]
        return [Offer(name, v, source) for f in functions for name, v in f().items()]

    def _class(self, offer: Offer, name: str) -> Any:
        # Its expression is then the name that it can be found by again.
        offer.value.name = name
        return offer.value

    def _admit(self, source: Source, plugin: Any) -> None:
        try:
            _check_version(plugin)
            self._manager.register(plugin, name=str(source))
            try:
                self._check(source, plugin)
            except BaseException:
                self._manager.unregister(plugin)
                raise
        except CorelmError as error:
            raise PluginError(str(error)) from error
        except (Exception, SystemExit) as error:
            raise PluginError(_reason(error)) from error

    def _check(self, source: Source, plugin: Any) -> None:
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise PluginError(f"not a plugin: {error}; the hooks are {', '.join(HOOKS)}") from error
        if not self._manager.get_hookcallers(plugin):
            raise PluginError(
                "not a plugin: no function in it is marked with @corelm.hookimpl; "
                f"the hooks are {', '.join(HOOKS)}"
            )
        self._loaded[source] = plugin
        try:
            for hook, base in (("corelm_samplers", Sampler), ("corelm_decoders", Decoder)):
                for offer in self._of(hook, source):
                    _check_class(offer.name, offer.value, base)
            self._of("corelm_models", source)
        except BaseException:
            del self._loaded[source]
            raise

    def _set_aside(self, source: Source, reason: str) -> None:
        self.failures[source] = reason
        message = f"plugin {source} was left out: {reason}"
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


def _source(point: EntryPoint) -> Source:
    distribution = point.dist
    name = distribution.name if distribution else "unknown"
    version = distribution.version if distribution else ""
    return Source(name, version, point.name, point.value)


def _wanted(source: Source) -> bool:
    """Whether `CORELM_PLUGINS` lets a plugin load; corelm's own always do."""
    setting = os.environ.get("CORELM_PLUGINS")
    if setting is None or source.distribution == OWN:
        return True
    names = {name.strip() for name in setting.split(",")}
    return bool(names & {source.distribution, source.entry_point, str(source)})


def _import(point: EntryPoint) -> Any:
    try:
        with _quiet_stdout():
            return point.load()
    except CorelmError as error:
        raise PluginError(str(error)) from error
    except (Exception, SystemExit) as error:
        raise PluginError(_reason(error)) from error


@contextlib.contextmanager
def _quiet_stdout() -> Iterator[None]:
    """What a plugin prints at import goes to stderr: stdout carries the product."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _check_version(plugin: Any) -> None:
    made_for = getattr(plugin, "CORELM_API_VERSION", hookspecs.API_VERSION)
    if made_for != hookspecs.API_VERSION:
        raise PluginError(
            f"made for version {made_for} of the plugin contract, this corelm has version "
            f"{hookspecs.API_VERSION}; install a release of the two that match"
        )


def _check_class(name: str, value: Any, base: type[Parameterized]) -> None:
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
