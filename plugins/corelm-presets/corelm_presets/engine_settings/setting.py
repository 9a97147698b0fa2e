"""One setting of an engine: its keys and their defaults, and the sampler that they describe."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from corelm import Sampler, renamed
from corelm.errors import ParameterError, SettingsError
from corelm.runs import Expression, printable

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
        present = {key: values.get(key) for key in self.keys}
        if self.is_off_by_default and not any(value is not None for value in present.values()):
            return None  # without loading the sampler: a server's request leaves out most keys
        filled = [self.keys[key] if value is None else value for key, value in present.items()]
        try:
            parameters = self.read(*filled)
            stage = None if parameters is None else own(self.sampler, **parameters)
        except NoCounterpartError:
            raise
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
        parameters: the key of each parameter.
    """

    def read(*numbers: Any) -> Values | None:
        if not when(*numbers):
            return None
        values = dict(zip(keys, numbers, strict=True))
        return {parameter: values[key] for parameter, key in parameters.items()}

    def write(stage: Any) -> Values:
        return {**on, **{key: getattr(stage, name) for name, key in parameters.items()}}

    return Setting(sampler, keys, {next(iter(keys)): off}, read, write, place)


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
    return Expression.built_in(sampler)


def texts(items: Any) -> list[str]:
    """Return a list of texts.

    Raises:
        TypeError: anything else.
    """
    # A text would count as a list of its letters.
    if isinstance(items, str) or not all(isinstance(item, str) for item in items):
        raise TypeError
    return list(items)


# ---- biases of tokens, which engines write as a list of pairs or as a mapping ----


def finite_biases(biases: Any) -> dict[str, dict[int, float]] | None:
    """Return the parameters of `logit_bias`: the biases that are numbers.

    Example:
        >>> finite_biases([[7, 1.5], [8, False]])
        {'bias': {7: 1.5}}
        >>> finite_biases({"7": -2})
        {'bias': {7: -2}}
    """
    numbers = {token: bias for token, bias in _pairs(biases) if bias > -math.inf}
    return {"bias": numbers} if numbers else None


def banned_tokens(biases: Any) -> dict[str, tuple[int, ...]] | None:
    """Return the parameters of `ban`: the tokens whose bias is false or minus infinity.

    Example:
        >>> banned_tokens([[7, 1.5], [8, False]])
        {'words': (8,)}
    """
    banned = tuple(token for token, bias in _pairs(biases) if bias == -math.inf)
    return {"words": banned} if banned else None


def listed_tokens(tokens: str) -> dict[str, tuple[int, ...]] | None:
    """Return the parameters of `ban`: the tokens in a text of ids.

    Example:
        >>> listed_tokens("7, 8")
        {'words': (7, 8)}
    """
    ids = tuple(int(token) for token in tokens.split(",") if token.strip())
    return {"words": ids} if ids else None


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
