"""An engine's sampler settings, their order, and the stages of a chain as values of its keys."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from corelm import Chain, Sampler
from corelm.errors import SettingsError, UnknownNameError
from corelm.runs import printable
from corelm_presets.engine_settings.setting import NoCounterpartError, Setting, Values, own, texts


@dataclass(frozen=True, eq=False)
class Engine:
    """An inference engine's sampler settings, in the order it applies them.

    Attributes:
        name: its name on the command line.
        settings: its samplers in the order in which they act.
        unsupported: keys that change the text and have no counterpart in corelm, with the values
            that switch them off.
        other: the keys that do not change the distribution of a token, with spaces between.
        spellings: other names of keys.
        switch: the key that switches sampling on or off; empty if temperature 0 switches it off.
        samples: the engine's default of the switch.
        ignored: keys of samplers that the engine no longer has, with spaces between.
        differences: samplers that corelm defines differently, each with its key and the reason.
    """

    name: str
    settings: tuple[Setting, ...]
    unsupported: Values
    other: str
    spellings: Mapping[str, str] = field(default_factory=dict)
    switch: str = ""
    samples: bool = True
    ignored: str = ""
    differences: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def sampler_keys(self) -> frozenset[str]:
        """The keys of samplers, and of the switch and the order of samplers."""
        keys = {key for setting in self.settings for key in setting.keys}
        return frozenset(keys | ({self.switch} if self.switch else set()))

    @property
    def other_keys(self) -> frozenset[str]:
        """The keys that do not change the distribution of a token."""
        return frozenset(self.other.split())

    @property
    def ignored_keys(self) -> list[str]:
        """The keys of samplers that the engine no longer has."""
        return self.ignored.split()

    def from_words(self, values: Values) -> Values:
        """Rename the keys of a file to the keys of the settings."""
        return values

    def to_words(self, values: Values) -> Values:
        """Rename the keys of the settings to the keys of a file."""
        return values

    def text(self, values: Values) -> str:
        """Format the values as the text of a file."""
        return json.dumps(values, indent=2) + "\n"

    def heeded(self, values: Values) -> Values:
        """Return the values without the ones that the engine ignores because of another value."""
        return values

    def inexact(self, stages: Sequence[Sampler]) -> Mapping[str, str]:
        """Return the keys whose sampler acts differently among these stages, with the reason."""
        notes = dict(
            self.differences[name]
            for name in self.differences
            if any(is_own(stage, name) for stage in stages)
        )
        if any(is_own(stage, "adaptive_p") for stage in stages[1:]):
            reason = "its mean takes the probability of a token after the stages before it there"
            notes["adaptive_target"] = reason
        return notes

    def acting(self, values: Values) -> Sequence[Setting]:
        """Return the settings that act, in their order."""
        if self.is_greedy(values):  # filters are idle if the most likely token is taken anyway
            return [s for s in self.settings if own(s.sampler).kind in ("penalty", "mask")]
        return self.settings

    def unknown_names(self, values: Values) -> list[str]:
        """Return unknown names in the list of samplers; none for an engine without a list."""
        return []

    def is_greedy(self, values: Values) -> bool:
        """Return True if sampling is switched off."""
        samples = switch(values, self.switch)
        return bool(self.switch) and not (self.samples if samples is None else samples)

    def arranged(self, used: Sequence[Setting]) -> Values:
        """Return the values that make the engine apply settings in this order.

        Args:
            used: one setting for each stage of a chain.

        Raises:
            SettingsError: the engine has another order.
        """
        for before, after in pairwise(used):
            self.check_order(before, after, self.settings)
        return {}

    def check_order(self, before: Setting, after: Setting, order: Sequence[Setting]) -> None:
        """Raise if the engine applies two settings in the opposite order, or one only once."""
        if before is after:
            raise SettingsError(f"{self.name} applies {before.sampler} only once")
        if order.index(after) < order.index(before):
            raise SettingsError(f"{self.name} applies {after.sampler} before {before.sampler}")


@dataclass(frozen=True, eq=False)
class ListingEngine(Engine):
    """An engine whose settings include an ordered list of its samplers.

    Attributes:
        list_key: the key of the list.
        list_spellings: other names in the list.
        foreign: names in the list of samplers that have keys of their own in `unsupported`.
        listed_as: the word for the items of the list, for errors.
        repeats: True if a sampler that is listed twice acts twice; otherwise the first place
            counts.
    """

    list_key: str = ""
    list_spellings: Values = field(default_factory=dict)
    foreign: frozenset[str] = frozenset()
    listed_as: str = "names"
    repeats: bool = False

    @property
    def sampler_keys(self) -> frozenset[str]:
        return super().sampler_keys | {self.list_key}

    @property
    def places(self) -> list[str]:
        """The samplers that can be listed, in the engine's own order."""
        return list(dict.fromkeys(s.place for s in self.settings if s.place))

    def names(self, listed: Any) -> list[str]:
        """Return the names in a list."""
        return texts(listed)

    def listed(self, values: Values) -> list[str] | None:
        """Return the names in the list of samplers, in their main spelling; None without a list.

        Raises:
            SettingsError: the value is not a list of names.
        """
        value = values.get(self.list_key)
        if value is None:
            return None
        try:
            names = [name.strip().replace("-", "_") for name in self.names(value)]
        except (TypeError, LookupError):
            raise SettingsError(
                f"{self.list_key} must be a list of {self.listed_as}, not {printable.shown(value)}"
            ) from None
        names = [self.list_spellings.get(name, name) for name in names]
        return names if self.repeats else list(dict.fromkeys(names))

    def unknown_names(self, values: Values) -> list[str]:
        """Return the names in the list of samplers that are neither settings nor foreign."""
        listable = {*self.places, *self.foreign}
        return [name for name in self.listed(values) or () if name not in listable]

    def at(self, places: Sequence[str]) -> list[Setting]:
        """Return the settings at these places, in the order of the places."""
        return [s for place in places for s in self.settings if s.place == place]

    def whole(self, places: Sequence[str]) -> list[Setting]:
        """Return the settings that act, in order: first all without a place, then these places'.

        By default the settings without a place act first, as biases and bans do.
        """
        return [*(s for s in self.settings if not s.place), *self.at(places)]

    def listed_order(self, used: Sequence[Setting]) -> list[str]:
        """Return the places of settings, in the order of the settings that have one.

        Raises:
            SettingsError: no order of the places has this order of settings.
        """
        order = self.order_of([setting for setting in used if setting.place])
        whole = self.whole(order)
        for before, after in pairwise(used):
            self.check_order(before, after, whole)
        return order

    def order_of(self, used: Sequence[Setting]) -> list[str]:
        """Return the places of settings in their order; the engine's own order if that fits.

        Raises:
            SettingsError: no order of the places has this order of settings.
        """
        default = self.at(self.places)
        indices = [default.index(setting) for setting in used]
        if indices == sorted(set(indices)):
            return self.places
        # Settings at one place act together: a list of places can't separate them.
        order = list(dict.fromkeys(setting.place for setting in used))
        for setting in used:
            if used.count(setting) > 1:
                self.check_order(setting, setting, used)
        for before, after in pairwise(used):
            self.check_order(before, after, self.at(order))
        return order


def switch(values: Values, key: str) -> bool | None:
    """Return the value of a key that is true or false; None without one."""
    value = values.get(key)
    if not isinstance(value, bool | None):
        raise SettingsError(f"{key} must be true or false, not {printable.shown(value)}")
    return value


# ---- stages ----


def until_greedy(stages: Iterable[Sampler]) -> list[Sampler]:
    """Return the stages that matter: greedy makes all stages after it idle, and some before it."""
    acting: list[Sampler] = []
    for stage in stages:
        if is_own(stage, "greedy") or (is_own(stage, "temperature") and stage == cold()):
            # A stage that keeps the likeliest token has no effect just before it, but may have one
            # before a stage that doesn't: typical | greedy depends on a top_k before.
            while acting and acting[-1].is_argmax_invariant:
                acting.pop()
            return [*acting, own("greedy")]
        if not is_own(stage, "stochastic"):
            acting.append(stage)
    return acting


def write_stages(
    engine: Engine, settings: Sequence[Setting], stages: Sequence[Sampler], values: dict[str, Any]
) -> list[Setting]:
    """Add the values of the stages to `values`; return the setting of each stage."""
    used: list[Setting] = []
    failures = []
    stated: dict[str, Any] = {}
    for stage in stages:
        try:
            setting, written = _counterpart(settings, stage)
            # Merge only once: the check of the order refuses a second stage of a setting later.
            if setting not in used:
                _merge(stated, written)
            used.append(setting)
        except NoCounterpartError as error:
            failures.append(f"{stage}{f' ({error})' if str(error) else ''}")
    if failures:
        have = "has" if len(failures) == 1 else "have"
        raise SettingsError(f"{', '.join(failures)} {have} no counterpart in {engine.name}")
    values |= stated
    return used


def _counterpart(settings: Sequence[Setting], stage: Sampler) -> tuple[Setting, Values]:
    """Find the engine's setting equivalent to a stage; return it with its keys' values."""
    if is_own(stage, "greedy"):
        stage = cold()
    reason = ""
    for setting in settings:
        if is_own(stage, setting.sampler):
            try:
                return setting, setting.values(stage)
            except NoCounterpartError as error:
                reason = str(error)
    raise NoCounterpartError(reason)


def _merge(stated: dict[str, Any], written: Values) -> None:
    """Add a stage's values to those stated: lists are joined; other values must be equal."""
    for key, value in written.items():
        if isinstance(stated.get(key), list):
            value = [*stated[key], *value]
        elif stated.get(key, value) != value:
            raise NoCounterpartError(
                f"{key} can be set once; an earlier stage sets it to {printable.shown(stated[key])}"
            )
        stated[key] = value


def chain_of(stages: Sequence[Sampler]) -> Sampler:
    """Return the sampler made of these stages; `stochastic` if there are none."""
    if not stages:
        return own("stochastic")
    return stages[0] if len(stages) == 1 else Chain(tuple(stages))


def cold() -> Sampler:
    """Return the temperature 0, which is greedy."""
    return own("temperature", t=0.0)


def is_own(stage: Sampler, name: str) -> bool:
    """Return True if a stage is corelm's own sampler with this name."""
    if stage.name.rpartition(":")[2] == name.rpartition(":")[2]:
        with suppress(UnknownNameError):  # a package that isn't installed
            return type(stage) is type(own(name))
    return False


# ---- the same distribution from stages in another order, for engines that fix the order ----

MOST_ORDERS = 100
"""The largest number of orders tried; chains that an engine can express need only a few."""
UNMOVED = ("top_k", "top_n_sigma")
"""Samplers that keep the same tokens at every temperature."""


def equal_chains(stages: Sequence[Sampler]) -> Iterator[list[Sampler]]:
    """Yield the same stages in other orders that have the same distribution, the nearest first.

    A temperature t divides the differences of logits by t and keeps their order. So `top_k` and
    `top_n_sigma` keep the same tokens before a temperature as after it, and min_p(p) before it
    keeps the tokens that min_p(p ** (1/t)) keeps after it. `top_k` and `min_p` each keep the tokens
    down to some rank; in either order, the higher of the two ranks decides.

    Example:
        >>> import corelm
        >>> chain = corelm.sampler("min_p(p=0.04) | temperature(t=0.5)")
        >>> [" | ".join(map(str, stages)) for stages in equal_chains(chain.stages)]
        ['temperature(t=0.5) | min_p(p=0.0016)']
    """
    first = tuple(range(len(stages)))
    waiting, orders = deque([(first, list(stages))]), {first}
    while waiting and len(orders) < MOST_ORDERS:
        order, chain = waiting.popleft()
        for i, (before, after) in enumerate(pairwise(chain)):
            swapped = (*order[:i], order[i + 1], order[i], *order[i + 2 :])
            pair = _swapped(before, after)
            if pair is not None and swapped not in orders:
                orders.add(swapped)
                waiting.append((swapped, [*chain[:i], *pair, *chain[i + 2 :]]))
                yield waiting[-1][1]


def _swapped(before: Sampler, after: Sampler) -> tuple[Sampler, Sampler] | None:
    """Swap two stages, adapted to keep the distribution the same; None if that is impossible."""
    if {_name(before), _name(after)} == {"top_k", "min_p"}:
        return after, before
    if _name(after) == "temperature":
        moved = _across(before, 1 / _t(after) if _t(after) else 0)
        return None if moved is None else (after, moved)
    if _name(before) == "temperature":
        moved = _across(after, _t(before))
        return None if moved is None else (moved, before)
    return None


def _across(stage: Sampler, power: float) -> Sampler | None:
    """Return the stage that does the same on the other side of a temperature; None if none does."""
    if _name(stage) in UNMOVED:
        return stage
    if _name(stage) != "min_p" or power <= 0:
        return None
    p = stage.p**power  # type: ignore[attr-defined]
    return own("min_p", p=p) if 0 < p < 1 else None  # rounded to 0, it would keep all


def _t(temperature: Sampler) -> float:
    t: float = temperature.t  # type: ignore[attr-defined]
    return t


def _name(stage: Sampler) -> str:
    """Return the name of a sampler that can be swapped; "" for any other."""
    for name in ("temperature", "min_p", *UNMOVED):
        if is_own(stage, name):
            return name
    return ""
