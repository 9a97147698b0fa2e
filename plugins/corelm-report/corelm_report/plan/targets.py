"""The targets of matching, and the number that an expression leaves open for it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from corelm import Sampler
from corelm.errors import ParameterError, UsageError
from corelm.runs import Expression, params, plugins, printable
from corelm_report.document.figures import EXPECTED, HUMAN, SHARE, SURPRISAL
from corelm_report.document.lookup import MATCHED

SHORT = {SURPRISAL: EXPECTED}
"""Short names of figures, as in the tables."""
FORM = "write FIGURE=NUMBER, such as entropy=3 or mass_kept=0.9, or surprisal=human"


Precision = tuple[float, float]
"""The error up to which a match is accepted, and the error below which the search stops."""
NATS, SHARES = (0.01, 0.002), (0.002, 0.0005)


@dataclass(frozen=True)
class Target:
    """A figure and the value that it should have.

    Attributes:
        figure: its key in `teacher_forced`, such as `entropy` or `mass_kept`.
        value: the value; None to take it from human text.
    """

    figure: str
    value: float | None

    @classmethod
    def read(cls, text: str) -> Target:
        """Read a target.

        Raises:
            UsageError: it is not a figure, an equals sign and a value; or out of range.

        Example:
            >>> Target.read("mass_kept=0.9")
            Target(figure='mass_kept', value=0.9)
            >>> Target.read("surprisal=human")
            Target(figure='expected_surprisal', value=None)
        """
        if not isinstance(text, str) or "=" not in text:
            raise UsageError(f"cannot read the target {printable.shown(text)}; {FORM}")
        name, value = (part.strip() for part in text.split("=", 1))
        figure = SHORT.get(name, name)
        if figure not in MATCHED:
            figures = [*SHORT, *MATCHED]
            hint = (
                printable.did_you_mean(name, figures) or f"; the figures are: {', '.join(figures)}"
            )
            raise UsageError(f"{printable.shown(name)} cannot be matched{hint}")
        if value != HUMAN:
            return cls(figure, _number(figure, value))
        if figure == "entropy":
            raise UsageError(
                "human text has no entropy under a model, only a surprisal: use surprisal=human, "
                "which gives the expected surprisal that human words have"
            )
        if figure != EXPECTED:
            raise UsageError(
                f"the {figure} of human text is not known; only surprisal can be matched to it, "
                "and every figure to a number"
            )
        return cls(figure, None)

    def __str__(self) -> str:
        """Return the target as text that `read` accepts."""
        return f"{self.figure}={HUMAN if self.value is None else format(self.value, 'g')}"


def precision(figure: str, value: float, words: int) -> Precision:
    """Return the precision of a match.

    Args:
        figure: the figure that is matched.
        value: its target.
        words: the number of positions of the contexts.
    """
    unit = MATCHED[figure].unit
    if unit == "tokens":
        return max(0.01 * value, 0.01), max(0.002 * value, 0.002)
    if figure == "human_recall":  # it is a share of words, and moves in steps of one word
        return max(SHARES[0], 1 / words), SHARES[1]
    return SHARES if unit == SHARE else NATS


def _number(figure: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise UsageError(
            f"{figure} must be a number or 'human', not {printable.shown(text)}"
        ) from None
    most = 1.0 if MATCHED[figure].unit == SHARE else math.inf
    if not (0 <= value <= most and value < math.inf):
        bound = "between 0 and 1" if most == 1 else "at least 0"
        raise UsageError(f"{figure} must be {bound}, not {value:g}")
    return value


NEAR = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.03)
WITHIN = (0.0, *NEAR, *(i / 10 for i in range(1, 10)), *(1 - x for x in reversed(NEAR)), 1.0)
"""Shares of the way from the least value to the largest.

They are dense at both ends, where a filter such as top_p changes most.
"""

BEYOND = (
    0.0, 1e-3, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0,
    100.0, 300.0, 1e3, 1e4, 1e6,
)  # fmt: skip
"""Distances from the end of a range with only one end."""


Stage = tuple[str, list[Any], dict[str, Any]]
"""A stage as written: the name, the parameters by position, and those by name."""


@dataclass(frozen=True)
class FreeParameter:
    """A parameter that an expression leaves open, whose value matching chooses.

    Attributes:
        expression: the sampler as the user wrote it, without the parameter.
        stage: the index of its stage among those of `_stages`.
        parameter: the parameter with its rules.
    """

    expression: str
    stage: int
    parameter: params.Parameter

    @classmethod
    def of(cls, expression: str) -> FreeParameter | None:
        """Return the number that an expression leaves open, or None.

        The candidates of a stage are its real numbers, or its integers if it has no real ones,
        and the candidates of the samplers in its parameters.

        Raises:
            UsageError: the expression leaves several numbers open.

        Example:
            >>> FreeParameter.of("top_k(k=50) | temperature").parameter.name
            't'
        """
        stages = enumerate(_stages(Expression.read(expression)))
        open_ = [cls(expression, at, each) for at, stage in stages for each in _left_open(stage)]
        if len(open_) > 1:
            names = [each.parameter.name for each in open_]
            raise UsageError(
                f"{expression} leaves {' and '.join(names)} open; give all of them except one"
            )
        return open_[0] if open_ else None

    def at(self, value: float) -> Sampler:
        """Return the sampler with this value."""
        written = Expression.read(self.expression)
        _, _, named = list(_stages(written))[self.stage]
        named[self.parameter.name] = value
        return written.build()

    def values(self) -> list[float]:
        """Return rising values from one end of its range to the other."""
        rule = self.parameter.rule
        low = rule.ge if rule.ge is not None else rule.gt
        high = rule.le if rule.le is not None else rule.lt
        if low is not None and high is not None and math.isfinite(high - low):
            wanted = [low + share * (high - low) for share in WITHIN]
        elif low is not None:
            wanted = [low + step for step in BEYOND]
        elif high is not None:
            wanted = [high - step for step in BEYOND]
        else:
            wanted = [sign * step for sign in (-1, 1) for step in BEYOND]
        return sorted({value for each in wanted for value in self._allowed(each)})

    def between(self, a: float, b: float, share: float) -> float | None:
        """Return the value at this share of the way from a to b; None if none lies between."""
        value = a + share * (b - a)
        if self.parameter.type is int:
            value = min(max(round(value), min(a, b) + 1), max(a, b) - 1)
        return value if min(a, b) < value < max(a, b) else None

    def rounded(self, value: float) -> Iterator[float]:
        """Yield shorter numbers near a value, the shortest first."""
        for digits in range(1, 17):
            yield from self._allowed(float(f"{value:.{digits}g}"))

    def _allowed(self, value: float) -> Iterator[float]:
        try:
            yield self.parameter.convert(round(value) if self.parameter.type is int else value)
        except ParameterError:
            return


def _stages(written: Expression) -> Iterator[Stage]:
    """Walk depth-first: each stage, then the stages of the samplers in its parameters."""
    for stage in written.stages:
        yield stage
        for value in (*stage[1], *stage[2].values()):
            if isinstance(value, Expression):
                yield from _stages(value)


def _left_open(stage: Stage) -> list[params.Parameter]:
    name, values, named = stage
    declared = plugins.registry().sampler(name).parameters()
    unnamed = declared[len(values) :]
    open_ = [p for p in unnamed if not {p.name, *p.rule.aliases} & set(named)]
    kind = float if any(p.type is float for p in declared) else int
    return [p for p in open_ if p.type is kind]
