"""The samplers of a report: each point of a sweep, with each target of an open parameter.

A sweep is one expression for several settings, such as `top_p(p=0.5,0.8,0.9)`: its values follow
the name of a parameter, up to the next name. A range such as `0.1..2.0/20` is 20 values, evenly
spaced, with both ends; `1..5` is five whole numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import NamedTuple

from corelm import Decoder, Sampler
from corelm.errors import ExpressionError, UsageError
from corelm.runs import Expression, Strategy, plugins, printable
from corelm_report.plan.targets import FreeParameter, Target
from corelm_report.settings import DEFAULT, MATCHED


@dataclass(frozen=True)
class Candidate:
    """One sampler of a report.

    Attributes:
        sampler: the sampler to measure; before matching, with the default parameter.
        open: the expression that leaves a parameter open to match; None if nothing is matched.
        target: the target that it is matched to.
        alone: True if there is one target, so the expression alone names the entry.
        sweep: the one-parameter sweep that it is a point of, or None.
        decoder: the decoder around the sampler; None for ancestral sampling.
    """

    sampler: Sampler
    open: str | None = None
    target: Target | None = None
    alone: bool = True
    sweep: str | None = None
    decoder: Decoder | None = None

    @property
    def strategy(self) -> Strategy:
        """The sampler and the decoder."""
        return Strategy(self.sampler, self.decoder)

    @property
    def name(self) -> str:
        """The name of its entry before anything is measured."""
        if self.open is None:
            return str(self.strategy)
        return self.open if self.alone else f"{self.open} at {self.target}"


def _candidates(
    samplers: Iterable[str | Sampler | Decoder] | None, targets: Sequence[Target]
) -> list[Candidate]:
    if samplers is None:
        own = map(Expression.built_in, MATCHED if targets else DEFAULT)
        # In full, if other plugins offer the same name.
        samplers = [each.name for each in own] if targets else [*own]
    listed = [samplers] if isinstance(samplers, (str, Sampler, Decoder)) else list(samplers)
    if not listed:
        raise UsageError("a report needs at least one sampler")
    return [candidate for each in listed for candidate in _points(each, targets)]


def _points(written: str | Sampler | Decoder, targets: Sequence[Target]) -> list[Candidate]:
    """Return a candidate for each point of a sweep, and for each target of an open number."""
    if not isinstance(written, str):
        sampler, decoder = Strategy.of(written)
        return [Candidate(sampler, decoder=decoder)]
    candidates, alone = list[Candidate](), len(targets) == 1
    for expression, sweep in points_of(written):
        sampler, decoder = Strategy.of(expression)
        if decoder is not None or not targets or FreeParameter.of(expression) is None:
            candidates.append(Candidate(sampler, sweep=sweep, decoder=decoder))
        else:
            candidates += [Candidate(sampler, expression, t, alone, sweep) for t in targets]
    return candidates


def _once(candidates: list[Candidate]) -> tuple[tuple[Candidate, ...], tuple[str, ...]]:
    """Remove duplicates; return the candidates, and a warning for each duplicate.

    Raises:
        UsageError: two classes have one name, as after a cell of a notebook was run twice.
    """
    classes: dict[str, list[type]] = {}
    for each in candidates:
        mine = [type(part) for part in each.sampler.parts()]
        if classes.setdefault(each.name, mine) != mine:
            raise UsageError(
                f"two different classes are called {each.name}, so that no report could tell them "
                "apart; rename one, or make both samplers of the class as it is now"
            )
    # Reversed, so that the first of equal candidates is kept.
    by_name = {candidate.name: candidate for candidate in reversed(candidates)}
    names = list(dict.fromkeys(candidate.name for candidate in candidates))
    several = [name for name in names if sum(c.name == name for c in candidates) > 1]
    warnings = tuple(f"{name} was named more than once; it is measured once" for name in several)
    return tuple(by_name[name] for name in names), warnings


MOST = 1000
"""The most settings of a sweep."""
DIGITS = 6
"""The significant digits of a number between the ends of a range."""

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?"
_RANGE = re.compile(rf"({_NUMBER})\s*\.\.\s*({_NUMBER})(?:\s*/\s*(\d{{1,9}}))?")
# Two dots after a number mean a range, even an invalid one.
_LIKE_A_RANGE = re.compile(r"[-+.\d][^\"'(\[{]*\.\.")


class SweepPoint(NamedTuple):
    """One point of a sweep.

    Attributes:
        expression: a sampler or a chain.
        sweep: the one-parameter sweep that this point is in, or None. If several parameters are
            swept, it is the sweep of the last one.
    """

    expression: str
    sweep: str | None


class _ExpressionPart(NamedTuple):
    """A part of an expression and its values: several if it is swept."""

    text: str
    values: list[str]


def points_of(expression: str) -> list[SweepPoint]:
    """Return every setting of an expression, which may sweep over parameters.

    An expression without a sweep is one setting. Several swept parameters give their product.

    Raises:
        ExpressionError: a range that cannot be read, or too many settings.

    Example:
        >>> points_of("top_p(p=0.5,0.9)")[1]
        SweepPoint(expression='top_p(p=0.9)', sweep='top_p(p=0.5,0.9)')
        >>> [each.expression for each in points_of("temperature(t=0.1..0.3/3)")]
        ['temperature(t=0.1)', 'temperature(t=0.2)', 'temperature(t=0.3)']
    """
    return _settings(expression.strip(), 0)


def numbers_of(text: str) -> list[str]:
    """Return the items of a list with commas and ranges as text; only ranges are parsed.

    Raises:
        ExpressionError: a range that cannot be read, or has too many numbers.

    Example:
        >>> numbers_of("1..3, 7")
        ['1', '2', '3', '7']
    """
    parts = [part.strip() for part in text.split(",")]
    return [number for part in parts for number in (_range(part) if ".." in part else [part])]


def _settings(text: str, depth: int) -> list[SweepPoint]:
    # An expression that is too long or too deeply nested is refused later, when samplers are read.
    parts = (
        [*_parts(text, depth)]
        if depth <= Expression.DEEPEST and len(text) <= Expression.LONGEST
        else []
    )
    swept = [at for at, part in enumerate(parts) if len(part.values) > 1]
    if not swept:
        return [SweepPoint(text, None)]
    _refuse_too_many(text, math.prod(len(part.values) for part in parts))
    # A sweep for each combination of the other parameters: only the last one varies in it.
    last = swept[-1]
    return [
        SweepPoint("".join(some), "".join([*some[:last], parts[last].text, *some[last + 1 :]]))
        for some in product(*(part.values for part in parts))
    ]


def _parts(text: str, depth: int) -> Iterator[_ExpressionPart]:
    """Yield the parts of an expression: the values of its parameters, and the text around them."""
    for at, stage in enumerate(Expression.split(text, "|")):
        yield _fixed(" | " if at else "")
        name, parameters = Expression.split_stage(stage)
        if not parameters:
            yield _fixed(name)
            continue
        for number, (key, texts) in enumerate(_by_name(parameters)):
            yield _fixed(f"{', ' if number else f'{name}('}{f'{key}=' if key else ''}")
            yield _parameter(key, texts, depth)
        yield _fixed(")")


def _fixed(text: str) -> _ExpressionPart:
    return _ExpressionPart(text, [text])


def _by_name(parameters: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Return the name of each parameter with its values, which end at the next name."""
    named: list[tuple[str, list[str]]] = []
    for key, text in parameters:
        if not key and named and named[-1][0]:
            named[-1][1].append(text)
        else:
            named.append((key, [text]))
    return named


def _parameter(key: str, texts: list[str], depth: int) -> _ExpressionPart:
    values: list[str] = []
    for text in texts:
        is_range = _LIKE_A_RANGE.match(text)
        inner = _range(text) if is_range else [s.expression for s in _settings(text, depth + 1)]
        values += inner
    if len(values) > 1 and not key:
        raise ExpressionError(
            f"{printable.shown(texts[0])} has no name before it; write a sweep behind the name of "
            "its parameter, such as t=0.1..2.0/20"
        )
    return _ExpressionPart(",".join(texts), values)


def _range(text: str) -> list[str]:
    """Return the numbers of a range as text, whole numbers without a point."""
    match = _RANGE.fullmatch(text)
    if match is None or not (match[3] or (_is_whole(match[1]) and _is_whole(match[2]))):
        raise ExpressionError(
            f"cannot read the range {printable.shown(text)}; write first..last/count, such as "
            "0.1..2.0/20, or two whole numbers, such as 1..5"
        )
    # In exact arithmetic, so that 0.1..2.0/20 has 0.3 and not 0.30000000000000004.
    first, last = Fraction(match[1]), Fraction(match[2])
    steps = int(match[3]) - 1 if match[3] else int(abs(last - first))
    if steps < 1 and first != last:
        raise ExpressionError(f"a range has at least 2 values, not {printable.shown(text)}")
    _refuse_too_many(text, steps + 1)
    whole = _is_whole(match[1]) and _is_whole(match[2])
    numbers = [first + (last - first) * at / max(steps, 1) for at in range(steps + 1)]
    texts = _short([float(n) for n in numbers])
    return [
        str(n) if whole and n.denominator == 1 else t for n, t in zip(numbers, texts, strict=True)
    ]


def _short(numbers: Sequence[float]) -> list[str]:
    """Format numbers with few digits, if they stay distinct; both ends stay as given.

    Example:
        >>> _short([0.7, 0.7 + 0.1 / 3, 0.8])
        ['0.7', '0.733333', '0.8']
    """
    short = [float(f"{number:.{DIGITS}g}") for number in numbers]
    ends = short[0] == numbers[0] and short[-1] == numbers[-1]
    chosen = short if ends and len(set(short)) == len(set(numbers)) else numbers
    return [str(number) for number in chosen]


def _is_whole(number: str) -> bool:
    return number.lstrip("+-").isdigit()


def _refuse_too_many(text: str, count: int) -> None:
    if count > MOST:
        raise ExpressionError(
            f"{printable.shown(text)} has {count:,} values; give at most {MOST:,}"
        )


def releases_of(strategy: Strategy) -> list[str]:
    """Return the plugins and versions of all stages and nested samplers."""
    source_of = plugins.registry().source_of
    sources = [source_of(type(part)) for stage in strategy.stages for part in stage.parts()]
    return [f"{source} {source.version}".strip() for source in sources]
