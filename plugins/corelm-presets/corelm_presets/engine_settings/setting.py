"""One setting of an engine: its keys and their defaults, and the sampler that they describe."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from corelm import Sampler, renamed
from corelm.errors import ParameterError, SettingsError, UnknownNameError
from corelm.runs import Expression, printable

Values = Mapping[str, Any]
ABSENT: Any = object()
"""In place of a value that switches a sampler off: only a missing key does."""
PROTECTED = ("newline", "end")
"""The tokens that some engines' XTC leaves in."""


class NoCounterpartError(ValueError):
    """A value or sampler without a counterpart; the message may have the reason."""


@dataclass(frozen=True, eq=False)
class Setting:
    """One sampler of an engine, and its counterpart in corelm.

    Attributes:
        sampler: the name of the sampler in corelm; the full name if a package has it.
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
        present = {key: values.get(key) for key in self.keys}
        if self.is_off_by_default and not any(value is not None for value in present.values()):
            return None  # without loading the sampler: a server's request leaves out most keys
        filled = [self.keys[key] if value is None else value for key, value in present.items()]
        try:
            parameters = self.read(*filled)
            stage = None if parameters is None else own(self.sampler, **parameters)
        except NoCounterpartError:
            raise
        except UnknownNameError:
            package = self.sampler.partition(":")[0]
            raise NoCounterpartError(f"it needs the package {package}") from None
        # A file may have any JSON value for a key, and `read` computes with it unchecked.
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            pairs = [f"{key}={printable.shown(v)}" for key, v in present.items() if v is not None]
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


def keyed(
    sampler: str,
    keys: Values,
    place: str = "",
    *,
    off: Any = 0,
    when: Callable[..., bool] = lambda first, *_: bool(first > 0),
    on: Values = MappingProxyType({}),
    fixed: Values = MappingProxyType({}),
    **parameters: str,
) -> Setting:
    """Return a setting whose keys hold the values of the parameters as they are.

    Args:
        sampler: the name of the sampler in corelm.
        keys: its keys and the engine's defaults.
        place: its name in the engine's list of samplers.
        off: the value of the first key that switches it off.
        when: returns True for values that switch it on; by default if the first is above 0.
        on: further values to write, such as a switch.
        fixed: the values of parameters that have no key in the engine.
        parameters: the key of each parameter.
    """

    def read(*numbers: Any) -> Values | None:
        if not when(*numbers):
            return None
        values = dict(zip(keys, numbers, strict=True))
        return {**fixed, **{name: values[key] for name, key in parameters.items()}}

    def write(stage: Any) -> Values:
        for name, value in fixed.items():
            if getattr(stage, name) != value:
                raise NoCounterpartError(f"there it has {name}={value}")
        return {**on, **{key: getattr(stage, name) for name, key in parameters.items()}}

    return Setting(sampler, keys, {next(iter(keys)): off}, read, write, place)


def plain(
    sampler: str,
    parameter: str,
    key: str,
    off: Any = ABSENT,
    *,
    default: Any = None,
    place: str | None = None,
    fixed: Values = MappingProxyType({}),
    read: Callable[[Any], Any] = lambda value: value,
    write: Callable[[Any], Any] = lambda value: value,
) -> Setting:
    """Return a setting with one key that holds the value of one parameter.

    Args:
        sampler: the name of the sampler in corelm.
        parameter: its parameter.
        key: the key of the engine.
        off: the value that switches it off; ABSENT if there is none.
        default: the engine's default, if the sampler is on by default.
        place: its name in the engine's list of samplers, if that differs from the key.
        fixed: the values of the other parameters in the engine.
        read: converts the engine's value to the parameter's; returns None if it switches it off.
        write: converts the parameter's value to the engine's.
    """

    def parameters(value: Any) -> Values | None:
        converted = read(value)
        return None if converted is None else {parameter: converted, **fixed}

    return Setting(
        sampler,
        {key: off if default is None else default},
        {} if off is ABSENT else {key: off},
        parameters,
        lambda stage: {key: write(getattr(stage, parameter))},
        key if place is None else place,
    )


def nones(keys: str) -> dict[str, None]:
    """Return keys, with spaces between, that None switches off."""
    return dict.fromkeys(keys.split())


def texts(items: Any) -> list[str]:
    """Return a list of texts.

    Raises:
        TypeError: anything else.
    """
    # A text would count as a list of its letters.
    if isinstance(items, str) or not all(isinstance(item, str) for item in items):
        raise TypeError
    return list(items)


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


@dataclass(frozen=True)
class Window:
    """The last tokens at which a penalty of an engine looks.

    Attributes:
        key: the key of their number.
        default: the engine's default.
        off: the number that switches the penalty off; None if there is none.
        read: converts the number to corelm's, where 0 is the whole context.
        write: converts corelm's number.
    """

    key: str
    default: int
    off: int | None = None
    read: Callable[[int], int] = all_or
    write: Callable[[int], int] = int


def penalty(name: str, key: str, off: float, window: Window, place: str) -> Setting:
    """Return the setting of a penalty, which looks at a window of the last tokens."""

    def read(value: float, last: int) -> Values | None:
        return None if last == window.off else {"penalty": value, "last": window.read(last)}

    def write(stage: Any) -> Values:
        check_that_prompt_counts(stage)
        return {key: stage.penalty, window.key: window.write(stage.last)}

    return Setting(name, {key: off, window.key: window.default}, {key: off}, read, write, place)


def dry(
    window: Window,
    breakers: Any,
    place: str = "dry",
    *,
    read_breakers: Callable[[Any], list[str]] = texts,
    write_breakers: Callable[[Any], Any] = list,
    when: Callable[[float, float], bool] = lambda factor, base: factor != 0,
) -> Setting:
    """Return the setting of DRY.

    Args:
        window: its window.
        breakers: the engine's default breakers.
        place: its name in the engine's list of samplers.
        read_breakers: converts the engine's breakers to texts.
        write_breakers: converts texts to the engine's breakers.
        when: returns True if the multiplier and the base switch it on.
    """
    keys = {
        "dry_multiplier": 0.0, "dry_base": 1.75, "dry_allowed_length": 2,
        window.key: window.default, "dry_sequence_breakers": breakers,
    }  # fmt: skip
    parameters = ("multiplier", "base", "allowed_length", "last", "sequence_breakers")

    def read(factor: float, base: float, allowed: int, last: int, ends: Any) -> Values | None:
        if not when(factor, base) or last == window.off:
            return None
        values = (factor, base, allowed, window.read(last), read_breakers(ends))
        return dict(zip(parameters, values, strict=True))

    def write(stage: Any) -> Values:
        check_that_prompt_counts(stage)
        values = [getattr(stage, name) for name in parameters]
        values[3:] = window.write(values[3]), write_breakers(values[4])
        return dict(zip(keys, values, strict=True))

    return Setting("dry", keys, {"dry_multiplier": 0.0}, read, write, place)


def thinking_budget(budget: str, message: str = "") -> Setting:
    """Return the setting that forces the end of a model's thinking after so many tokens.

    Args:
        budget: the key of the number of tokens; -1 there is any number.
        message: the key of words to write before the end, if there is one.
    """
    begin, end = "<think>", "</think>"

    def read(tokens: int, words: str = "") -> Values | None:
        if not isinstance(words, str):  # a number would be a token id
            raise TypeError
        if tokens == -1:
            return None
        written = (words, end) if words else (end,)
        return {"words": written, "at": tokens, "since": begin, "unless": end}

    def write(stage: Any) -> Values:
        words = stage.words[0] if len(stage.words) > 1 else ""
        return {budget: stage.at, **({message: words} if message else {})}

    return Setting("force", {budget: -1, **({message: ""} if message else {})}, {}, read, write)


def own(sampler: str, /, **parameters: Any) -> Sampler:
    """Return corelm's own sampler of a name."""
    default = _default(sampler)
    if not parameters:
        return default
    # With the default's name: the full name if a plugin offers the short one too.
    return renamed(type(default).build(**parameters), default.name)


@cache
def _default(sampler: str) -> Sampler:
    return Expression.built_in(sampler)


# ---- biases of tokens, which engines write as a list of pairs or as a mapping ----


def finite_biases(biases: Any) -> dict[int, float] | None:
    """Return the biases that are numbers; None if there are none.

    Example:
        >>> finite_biases([[7, 1.5], [8, False]])
        {7: 1.5}
        >>> finite_biases({"7": -2})
        {7: -2}
    """
    return {token: bias for token, bias in _pairs(biases) if bias > -math.inf} or None


def banned_tokens(biases: Any) -> tuple[int, ...] | None:
    """Return the tokens whose bias is false or minus infinity; None if there are none.

    Example:
        >>> banned_tokens([[7, 1.5], [8, False]])
        (8,)
    """
    return tuple(token for token, bias in _pairs(biases) if bias == -math.inf) or None


def listed_tokens(tokens: str) -> tuple[int, ...] | None:
    """Return the tokens in a text of ids; None if there are none.

    Example:
        >>> listed_tokens("7, 8")
        (7, 8)
    """
    return tuple(int(token) for token in tokens.split(",") if token.strip()) or None


def token_ids(tokens: Iterable[Any]) -> list[int]:
    """Convert tokens to ids.

    Raises:
        NoCounterpartError: a token is a word, which vocabularies may split differently.
    """
    ids = list(tokens)
    if any(isinstance(token, str) for token in ids):
        raise NoCounterpartError("it takes token ids, not words")
    return ids


def _pairs(biases: Any) -> Iterable[tuple[int, float]]:
    pairs = biases.items() if isinstance(biases, Mapping) else biases
    for token, bias in pairs:
        if isinstance(token, str) and not token.isdecimal():
            raise NoCounterpartError("corelm takes token ids, not texts of any length")
        if bias is not False and (isinstance(bias, bool) or not isinstance(bias, (int, float))):
            raise TypeError
        yield int(token), -math.inf if bias is False else bias  # llama.cpp's false bans a token
