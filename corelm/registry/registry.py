"""Find plugins, and load each one safely and only when it is needed.

A plugin is an entry point of the group `corelm`, named after what it offers. Listing the names
imports nothing. Asking for a name imports the module of that name; the others are imported only
when no entry point has it. A plugin that fails is set aside with its reason, and the others work.
"""

from __future__ import annotations

import inspect
import logging
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import pluggy

from corelm.contracts import hookspecs
from corelm.contracts.params import Parameterized, register_as
from corelm.errors import AmbiguousNameError, PluginError, UnknownNameError
from corelm.registry.loading import (
    OWN,
    check_version,
    import_plugin,
    plugin_errors,
    stdout_to_stderr,
    wanted_points,
)
from corelm.registry.offers import (
    CHECKS,
    Check,
    EntryPoint,
    Offer,
    Source,
    check_name,
    distinct,
    entry_points,
    offers_by_name,
    without_entry_points,
)
from corelm.text.printable import did_you_mean, listed, one_line, shown

if TYPE_CHECKING:
    from corelm.contracts.decoder import Decoder
    from corelm.contracts.sampling import Sampler
    from corelm.contracts.step import Step

OBSERVER = "corelm_next_token"
COMMANDS = "corelm_commands"
HOOKS = (*CHECKS, COMMANDS, OBSERVER)
KINDS = {
    "corelm_samplers": "sampler",
    "corelm_decoders": "decoder",
    "corelm_models": "model",
    "corelm_metrics": "metric",
    COMMANDS: "command",
}

SLOW = 10.0
"""Seconds of an import after which its plugin is named."""

logger: logging.Logger = logging.getLogger("corelm")


class Registry:
    """The installed plugins, and the offers of the loaded ones.

    Args:
        points: the entry points to consider; by default the installed ones.
        strict: raise when a plugin fails, instead of setting it aside.
    """

    group: ClassVar[str] = "corelm"
    """The group of entry points."""

    checks: ClassVar[Mapping[str, Check]] = CHECKS
    """The hooks that return offers, in a plugin of the group, each with the check of an offer."""

    hooks: ClassVar[tuple[str, ...]] = (*CHECKS, OBSERVER)
    """The hooks that a plugin of the group may implement."""

    def __init__(self, points: list[EntryPoint] | None = None, strict: bool | None = None) -> None:
        self._is_of_installed = points is None
        self._points = wanted_points(entry_points(self.group) if points is None else points)
        self._strict = os.environ.get("CORELM_STRICT_PLUGINS") == "1" if strict is None else strict
        self._sources = sorted(self._points, key=str)
        self._named: dict[str, list[Source]] = {}
        for source in self._sources:
            self._named.setdefault(source.entry_point, []).append(source)
        self._offered: dict[Source, dict[str, list[Offer]]] = {}
        self._loading = threading.RLock()  # a server's threads may look up names at once
        # A package may have thousands of entry points: look them up in dicts, never in a loop over
        # all.
        self._by_name: dict[Source, dict[str, Mapping[str, list[Offer]]]] = {}
        self._by_class: dict[type[Parameterized], Offer] = {}
        self._by_hand: list[Source] = []
        self.silenced: dict[str, str] = {}
        """The observers that raised an error, each with the step and its reason."""
        self._warned: set[str] = set()
        self.failures: dict[Source, str] = {}
        """The plugins that could not be loaded, each with its reason."""
        self._manager = pluggy.PluginManager("corelm")
        self._manager.add_hookspecs(hookspecs)

    def sources(self) -> list[Source]:
        """Return every installed plugin, loaded or not."""
        return [*self._sources]

    def register(self, plugin: Any, name: str = "this process") -> None:
        """Add an object with hooks by hand, as a notebook or a test does."""
        source = Source(name, "", getattr(plugin, "__name__", type(plugin).__name__))
        self._admit(source, plugin)
        self._by_hand.append(source)

    def load(self, source: Source, warn: bool = True) -> bool:
        """Load one plugin, once; return False if it failed, with the reason in `failures`."""
        with self._loading:
            return self._load(source, warn)

    def _load(self, source: Source, warn: bool) -> bool:
        if source not in self._offered and source not in self.failures:
            slow = threading.Timer(SLOW, logger.warning, ("still importing plugin %s", source))
            slow.daemon = True  # an import that never ends must not delay the exit
            if source.distribution != OWN:  # many short imports: a thread for each takes longer
                slow.start()
            try:
                self._admit(source, import_plugin(self._points[source]))
            except PluginError as error:
                self.failures[source] = str(error)
                if warn or self._strict:
                    self._warn(source, str(error))
            except KeyboardInterrupt:  # by the user, while it slept, or by the plugin
                logger.warning("interrupted while plugin %s was loaded", source)
                raise
            finally:
                slow.cancel()
        return source in self._offered

    def load_all(self) -> None:
        """Load every plugin."""
        for source in self.sources():
            self.load(source)

    def offers(self, hook: str) -> list[Offer]:
        """Load every plugin and return all offers through a hook, such as `corelm_samplers`."""
        self.load_all()
        offers = [offer for offered in self._offered.values() for offer in offered[hook]]
        # Two entry points may name one module: an offer belongs to the entry point of its name.
        offers.sort(key=lambda offer: offer.source.entry_point != offer.name)
        return sorted(distinct(offers), key=lambda o: (o.name, o.full_name))

    def sampler(self, name: str) -> type[Sampler]:
        """Return the sampler class of a name, or of a full name such as `corelm-nucleus:top_p`."""
        cls: type[Sampler] = self.find("corelm_samplers", name).value
        return cls

    def decoder(self, name: str) -> type[Decoder]:
        """Return the decoder class of a name or full name."""
        cls: type[Decoder] = self.find("corelm_decoders", name).value
        return cls

    def observe(self, step: Step) -> None:
        """Pass a step to every observer; an observer that raises is not called again."""
        from corelm.contracts.step import OwnStep  # late: many commands decode nothing

        for impl in self._manager.hook.corelm_next_token.get_hookimpls():
            if impl.plugin_name in self.silenced:
                continue
            try:
                own = OwnStep(step)  # another one for each observer
                with plugin_errors():  # as in pluggy, an observer may omit the argument
                    impl.function(own) if impl.argnames else impl.function()
            except PluginError as error:
                # One warning, not one for each token.
                self.silenced[impl.plugin_name] = reason = f"at step {step.position}: {error}"
                self._warn(impl.plugin_name, reason)

    def load_observers(self) -> bool:
        """Load the entry points named `corelm_next_token`; return True if there are observers."""
        for source in self._named.get(OBSERVER, ()):
            self.load(source)
        return bool(self._manager.hook.corelm_next_token.get_hookimpls())

    def find(self, hooks: str | Sequence[str], name: str) -> Offer:
        """Return the one offer of a name.

        Args:
            hooks: such as `corelm_samplers`; or several, through any of which it is offered.
            name: a name, or a full name such as `corelm-nucleus:top_p`.

        Raises:
            UnknownNameError: no plugin offers it; the message suggests a close name.
            AmbiguousNameError: several plugins offer it, none of them corelm; the message has
                their full names.
        """
        hooks = (hooks,) if isinstance(hooks, str) else hooks
        distribution, _, short = name.rpartition(":")
        # Imports are slow and may fail: try the entry points of exactly that name first.
        named = _of_distribution(distribution, self._named.get(short, ()))
        quiet = [s for s in named if s not in self.failures and not self.load(s, warn=False)]
        offers = [o for hook in hooks for o in self._offers(hook, short, named)]
        if not offers:
            mine = _of_distribution(distribution, self._sources)
            offers = [o for hook in hooks for o in self._offers(hook, short, mine)]
        if not distribution:
            offers += [o for hook in hooks for o in self._offers(hook, short, self._by_hand)]
        offers = distinct(offers)
        # Without an offer, the error has the reason of the first failure.
        for source in quiet[0 if offers else 1 :]:
            self._warn(source, self.failures[source])
        if len(offers) > 1 and not distribution:
            offers = self._own_first(name, offers)
        if len(offers) > 1:
            full = sorted({offer.full_name for offer in offers})
            way = f"{len(offers)} plugins offer {name!r}; say which one: {' or '.join(full)}"
            if len(full) == 1:
                way = f"{full[0]} is both a sampler and a decoder; its package must rename one"
                way += " of them"
            raise AmbiguousNameError(way)
        if not offers:
            raise UnknownNameError(self._unknown(hooks, name))
        return offers[0]

    def _own_first(self, name: str, offers: list[Offer]) -> list[Offer]:
        """Prefer corelm's own offer, so that no other package can break a script."""
        own = [offer for offer in offers if offer.source.distribution == OWN]
        others = [offer.full_name for offer in offers if offer.source.distribution != OWN]
        if len(own) != 1:
            return offers
        if others and name not in self._warned:
            self._warned.add(name)
            logger.warning("%s is corelm's own; the other is %s", name, " or ".join(others))
        return own

    def offer_of(self, value: type[Parameterized]) -> Offer | None:
        """Return the offer of a plugin's class, such as a sampler; None for one of this process."""
        # A class that the program imported directly may belong to a plugin that isn't loaded yet.
        for source in self._named.get(value.name, ()):
            self.load(source)
        return self._by_class.get(value)

    def source_of(self, value: type[Parameterized]) -> Source:
        """Return the plugin of a class; "this process" if no plugin offers it."""
        offer = self.offer_of(value)
        return offer.source if offer else Source("this process", "", value.__qualname__)

    @staticmethod
    def guarded() -> AbstractContextManager[None]:
        """Turn every exception of plugins' code into a `PluginError` of one line.

        Meanwhile what the code prints goes to standard error. Only KeyboardInterrupt passes.
        """
        return plugin_errors()

    def is_contested(self, offer: Offer) -> bool:
        """Return True if the bare name is ambiguous, or means another distribution's offer."""
        if offer.source.distribution == OWN:
            return False
        # By the entry points alone, so that no module is imported.
        same_name = self._named.get(offer.name, ())
        return any(source.distribution != offer.source.distribution for source in same_name)

    def _offers(self, hook: str, name: str, sources: list[Source]) -> list[Offer]:
        return [o for s in sources if self.load(s) for o in self._by_name[s][hook].get(name, ())]

    def _admit(self, source: Source, plugin: Any) -> None:
        # Two entry points may name one module: register it once, and offer it under both.
        is_registered = self._manager.is_registered(plugin)
        try:
            with plugin_errors(), stdout_to_stderr():
                check_version(plugin)
                if not is_registered:
                    self._check_hooks(source, plugin)
                offered = {hook: self._ask(hook, source, plugin) for hook in self.checks}
        except PluginError:
            if not is_registered and self._manager.is_registered(plugin):
                self._manager.unregister(plugin)  # or its observer would still run
            raise
        self._offered[source] = offered
        self._by_name[source] = {hook: offers_by_name(each) for hook, each in offered.items()}
        for hook in ("corelm_samplers", "corelm_decoders", "corelm_metrics"):
            for offer in offered.get(hook, ()):
                register_as(offer.value, offer.name)
                self._by_class.setdefault(offer.value, offer)

    def _check_hooks(self, source: Source, plugin: Any) -> None:
        try:
            self._manager.register(plugin, name=str(source))
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            reason = f"{one_line(str(error))}; the hooks are {', '.join(HOOKS)}"
            raise PluginError(f"not a plugin: {reason}") from error
        callers = self._manager.get_hookcallers(plugin)
        if not callers:
            raise PluginError(
                "not a plugin: no function in it is marked with @corelm.hookimpl; "
                f"the hooks are {', '.join(HOOKS)}"
            )
        observing = {each.value for each in self._named.get(OBSERVER, ())}
        is_observer = [caller.name for caller in callers] == [OBSERVER]
        if is_observer and source in self._points and source.value not in observing:
            raise PluginError(
                f"not an observer: corelm calls it only by an entry point named {OBSERVER}, not "
                f"{source.entry_point}"
            )
        for hook in HOOKS:
            function = getattr(plugin, hook, None)
            if inspect.isfunction(function) and not hasattr(function, "corelm_impl"):
                raise PluginError(f"not a plugin: {hook} is not marked with @corelm.hookimpl")
        for caller in callers:
            own = [impl.function for impl in caller.get_hookimpls() if impl.plugin is plugin]
            never = inspect.iscoroutinefunction, inspect.isgeneratorfunction
            if any(is_such(function) for is_such in never for function in own):
                raise PluginError(
                    f"not a plugin: {caller.name} never runs: write it without async and yield"
                )
            if caller.name not in self.hooks:
                raise PluginError(
                    f"not a plugin of the group {self.group}: it has the hook {caller.name}; "
                    "put commands into a module of their own, in the group corelm.commands"
                )

    def _ask(self, hook: str, source: Source, plugin: Any) -> list[Offer]:
        """Return the checked offers of a plugin through one hook."""
        impls = getattr(self._manager.hook, hook).get_hookimpls()
        # One plugin at a time: in a call of the hook for all plugins, the first error would stop
        # the rest.
        answers = [impl.function() for impl in impls if impl.plugin is plugin]
        offers = []
        for answer in answers:
            if not isinstance(answer, Mapping):
                raise PluginError(
                    f"not a plugin: {hook} returned {shown(answer)}, not a mapping from names"
                )
            offers += [Offer(name, value, source) for name, value in answer.items()]
        for offer in offers:
            check_name(offer)
            self.checks[hook](offer)
        return offers

    def _warn(self, plugin: Source | str, reason: str) -> None:
        message = f"plugin {plugin} was left out: {reason}"
        if self._strict:
            raise PluginError(message)
        logger.warning("%s", message)

    def _unknown(self, hooks: Sequence[str], name: str) -> str:
        kind = " or ".join(KINDS[hook] for hook in hooks)
        for source, reason in self.failures.items():
            if name in (source.entry_point, str(source)):
                return f"the {kind} {name!r} cannot be used: plugin {source} failed: {reason}"
        names = sorted({offer.name for hook in hooks for offer in self.offers(hook)})
        hint = did_you_mean(name, names)
        message = f"there is no {kind} {name!r}{hint}"
        # If a name is close, only a package with the name of the sampler is likely the cause.
        ending = f"-{name.replace('_', '-')}" if hint else ""
        silent = without_entry_points() if self._is_of_installed else []
        if silent := [each for each in silent if each.endswith(ending)]:
            line = f'the line {name} = "MODULE" below [project.entry-points.corelm]'
            message += f"; the pyproject.toml of {listed(silent)} lacks {line}"
        return f"{message} (there are: {listed(names)})"


def _of_distribution(distribution: str, sources: Iterable[Source]) -> list[Source]:
    """Return the sources of a distribution; all sources if `distribution` is empty."""
    return [source for source in sources if distribution in ("", source.distribution)]


@cache
def registry() -> Registry:
    """Return the plugins of this process."""
    return Registry()
