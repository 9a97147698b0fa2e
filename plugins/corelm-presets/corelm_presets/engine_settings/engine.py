"""An engine's sampler settings: keys, defaults, order, and the sampler that each describes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from corelm import Sampler, renamed
from corelm.errors import ParameterError, SettingsError
from corelm.runs import expressions, printable

Values = Mapping[str, Any]


class NoCounterpartError(ValueError):
    """A value or sampler without a counterpart; the message may have the reason."""


@dataclass(frozen=True, eq=False)
class Setting:
    """One sampler of an engine, and its counterpart in corelm.

    Attributes:
        sampler: the name of the sampler in corelm.
        keys: the engine's keys for it, with the engine's defaults.
        off: values of keys that switch it off.
        read: converts the values of the keys to parameters; returns None if they switch it off.
        write: converts the sampler to values of the keys.
        place: its name in the engine's list of samplers; settings with the same place act together.

    `read` and `write` raise NoCounterpartError for values without a counterpart on the other side.
    """

    sampler: str
    keys: Values
    off: Values
    read: Callable[..., Values | None]
    write: Callable[[Any], Values]
    place: str = ""

    @property
    def is_off_by_default(self) -> bool:
        """True if the engine's defaults of its keys switch it off."""
        return bool(self.off) and self.off.items() <= self.keys.items()

    def stage(self, values: Values) -> Sampler | None:
        """Return the sampler that the values make; None if they switch it off.

        Raises:
            NoCounterpartError: corelm has no sampler for these values.
            SettingsError: a value of a wrong type, or outside its rule.
        """
        given = {key: values.get(key) for key in self.keys}
        if self.is_off_by_default and not any(value is not None for value in given.values()):
            return None  # without loading the sampler: a server's request leaves out most keys
        filled = [self.keys[key] if value is None else value for key, value in given.items()]
        try:
            parameters = self.read(*filled)
            stage = None if parameters is None else own(self.sampler, **parameters)
        except NoCounterpartError:
            raise
        # A file may have any JSON value for a key, and `read` computes with it unchecked.
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            pairs = [f"{key}={printable.shown(v)}" for key, v in given.items() if v is not None]
            reason = str(error) if isinstance(error, ParameterError) else "a value of a wrong type"
            raise SettingsError(f"{', '.join(pairs)}: {reason}") from error
        # Drop a neutral stage: it changes nothing, and chains compare equal without it.
        return None if stage is None or stage.is_neutral else stage

    def values(self, stage: Sampler) -> Values:
        """Return the values of the keys that make a stage of this sampler.

        Raises:
            NoCounterpartError: the engine has no such values.
        """
        written = self.write(stage)
        # Read the values back: a key may not express every parameter, such as `skip_prompt`.
        if self.stage(written) != stage:
            raise NoCounterpartError
        return written


def plain(
    sampler: str,
    parameter: str,
    key: str,
    off: Any,
    *,
    default: Any = None,
    place: str = "",
    fixed: Values = MappingProxyType({}),
) -> Setting:
    """Return a setting with one key that holds the value of one parameter.

    Args:
        sampler: the name of the sampler in corelm.
        parameter: its parameter.
        key: the key of the engine.
        off: the value that switches it off.
        default: the engine's default, if the sampler is on by default.
        place: its name in the engine's list of samplers, if that differs from the key.
        fixed: the values of the other parameters in the engine.
    """
    return Setting(
        sampler,
        {key: off if default is None else default},
        {key: off},
        lambda value: {parameter: value, **fixed},
        lambda stage: {key: getattr(stage, parameter)},
        place or key,
    )


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
    """

    name: str
    settings: tuple[Setting, ...]
    unsupported: Values
    other: str
    spellings: Mapping[str, str] = field(default_factory=dict)
    switch: str = ""
    samples: bool = True
    ignored: str = ""

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
        """Return the keys whose sampler acts differently after these stages, with the reason."""
        return {}

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
        samples = values.get(self.switch)
        if not isinstance(samples, bool | None):
            raise SettingsError(
                f"{self.switch} must be true or false, not {printable.shown(samples)}"
            )
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
        known = {*self.places, *self.foreign}
        return [name for name in self.listed(values) or () if name not in known]

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


def all_or(last: int) -> int:
    """Return the window of a penalty: -1 is the whole context, which is 0 in corelm."""
    return 0 if last == -1 else last


def check_that_prompt_counts(stage: Any) -> None:
    """Raise if a penalty skips the prompt, which engines cannot do.

    Raises:
        NoCounterpartError: it skips the prompt.
    """
    if stage.skip_prompt:
        raise NoCounterpartError("the prompt counts there")


def dry_keys(
    multiplier: float,
    base: float,
    allowed: int,
    last: int,
    breakers: Any,
    *,
    window: str = "dry_penalty_last_n",
) -> Values:
    """Return values under the engines' keys for DRY; `window` is the key of `last`."""
    return {
        "dry_multiplier": multiplier,
        "dry_base": base,
        "dry_allowed_length": allowed,
        window: last,
        "dry_sequence_breakers": breakers,
    }


def dry_values(
    stage: Any, last: int, breakers: Any, *, window: str = "dry_penalty_last_n"
) -> Values:
    """Write a `dry` sampler as the engine's keys, with its window and breakers.

    Raises:
        NoCounterpartError: it skips the prompt.
    """
    check_that_prompt_counts(stage)
    return dry_keys(
        stage.multiplier, stage.base, stage.allowed_length, last, breakers, window=window
    )


def dry_parameters(
    multiplier: float, base: float, allowed: int, last: int, breakers: Sequence[str]
) -> Values:
    """Return the parameters of `dry` from values in the order of `dry_keys`."""
    return {
        "multiplier": multiplier,
        "base": base,
        "allowed_length": allowed,
        "last": last,
        "sequence_breakers": breakers,
    }


def own(sampler: str, /, **parameters: Any) -> Sampler:
    """Return corelm's own sampler of a name."""
    default = _default(sampler)
    if not parameters:
        return default
    # With the default's name: the full name if a plugin offers the short one too.
    return renamed(type(default).build(**parameters), default.name)


@cache
def _default(sampler: str) -> Sampler:
    return expressions.built_in(sampler)


def texts(items: Any) -> list[str]:
    """Return a list of texts.

    Raises:
        TypeError: anything else.
    """
    # A text would count as a list of its letters.
    if isinstance(items, str) or not all(isinstance(item, str) for item in items):
        raise TypeError
    return list(items)
