"""The targets of matching, and the number that an expression leaves open for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from corelm import Sampler
from corelm.errors import ParameterError, UsageError
from corelm.runs import Expression, params, plugins, printable
from corelm_report.document.figure import EXPECTED, HUMAN, SHARE, SURPRISAL
from corelm_report.document.lookup import MATCHED

SHORT = {SURPRISAL: EXPECTED}
"""Short names of figures, as in the tables."""
OF_HUMAN_WORDS = ("human_recall", "human_surprisal")
"""The figures that need human contexts."""
LIKE_HUMAN = EXPECTED
"""The figure that can be matched to human text."""
FORM = "write FIGURE=NUMBER, such as entropy=3 or mass_kept=0.9, or surprisal=human"


class Precision(NamedTuple):
    """Accept a match within `tolerance`; stop searching below `close`."""

    tolerance: float
    close: float


NATS, SHARES = Precision(0.01, 0.002), Precision(0.002, 0.0005)


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
        if value == HUMAN:
            return cls._of_human(figure)
        return cls(figure, _number(figure, value))

    @classmethod
    def _of_human(cls, figure: str) -> Target:
        if figure == "entropy":
            raise UsageError(
                "human text has no entropy under a model, only a surprisal: use surprisal=human, "
                "which gives the expected surprisal that human words have"
            )
        if figure != LIKE_HUMAN:
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
        return Precision(max(0.01 * value, 0.01), max(0.002 * value, 0.002))
    if figure == "human_recall":  # it is a share of words, and moves in steps of one word
        return Precision(max(SHARES.tolerance, 1 / words), SHARES.close)
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
Path = tuple[tuple[int, int | str], ...]
"""The path into nested samplers: at each level the index of a stage and a parameter's key."""


@dataclass(frozen=True)
class FreeParameter:
    """A parameter whose value is to be found.

    Attributes:
        expression: the sampler as the user wrote it, without the parameter.
        stages: its stages.
        path: the path to the stages with the parameter; empty if it is not nested.
        stage: the index of its stage there.
        parameter: the parameter with its rules.
    """

    expression: str
    stages: tuple[Stage, ...]
    path: Path
    stage: int
    parameter: params.Parameter

    @classmethod
    def of(cls, expression: str) -> FreeParameter:
        """Return the number that an expression leaves open.

        The candidates of a stage are its real numbers, or its integers if it has no real ones,
        and the candidates of the samplers in its parameters.

        Raises:
            UsageError: the expression leaves no number open, or several.

        Example:
            >>> FreeParameter.of("top_k(k=50) | temperature").parameter.name
            't'
        """
        free = cls.find(expression)
        if free is None:
            raise UsageError(
                f"{expression} leaves no number open to match; write the bare name of a sampler "
                "that has one, such as top_p"
            )
        return free

    @classmethod
    def find(cls, expression: str) -> FreeParameter | None:
        """Return the number that an expression leaves open, or None.

        Raises:
            UsageError: it leaves several open.
        """
        stages = tuple(Expression.read(expression).stages)
        open_ = [cls(expression, stages, *each) for each in _open(stages)]
        if len(open_) > 1:
            names = [each.parameter.name for each in open_]
            raise UsageError(
                f"{expression} leaves {' and '.join(names)} open; give all of them except one"
            )
        return open_[0] if open_ else None

    def at(self, value: float) -> Sampler:
        """Return the sampler with this value."""
        stages = _put(self.stages, self.path, self.stage, {self.parameter.name: value})
        return Expression(self.expression, stages).build()

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


def _open(
    stages: Sequence[Stage],
) -> Iterator[tuple[Path, int, params.Parameter]]:
    """Yield the open parameters of stages and nested samplers, with their paths."""
    for at, stage in enumerate(stages):
        yield from (((), at, parameter) for parameter in _left_open(stage))
        for key, value in _arguments(stage).items():
            if isinstance(value, Expression):
                for path, inner, parameter in _open(value.stages):
                    yield ((at, key), *path), inner, parameter


def _put(
    stages: Sequence[Stage], path: Path, stage: int, values_by_name: dict[str, float]
) -> list[Stage]:
    """Return the stages with additional parameters for the stage at the end of a path."""
    whole = list(stages)
    if not path:
        name, values, named = whole[stage]
        whole[stage] = (name, values, named | values_by_name)
        return whole
    (at, key), *rest = path
    name, values, named = whole[at]
    nested = _arguments(whole[at])[key]
    new = {key: replace(nested, stages=_put(nested.stages, tuple(rest), stage, values_by_name))}
    whole[at] = (
        name,
        [new.get(place, value) for place, value in enumerate(values)],
        {each: new.get(each, value) for each, value in named.items()},
    )
    return whole


def _arguments(stage: Stage) -> dict[int | str, Any]:
    """Return the parameters of a stage by position or name."""
    return dict(enumerate(stage[1])) | stage[2]


def _left_open(stage: Stage) -> list[params.Parameter]:
    name, values, named = stage
    declared = plugins.registry().sampler(name).parameters()
    unnamed = declared[len(values) :]
    open_ = [p for p in unnamed if not {p.name, *p.rule.aliases} & set(named)]
    kind = float if any(p.type is float for p in declared) else int
    return [p for p in open_ if p.type is kind]
