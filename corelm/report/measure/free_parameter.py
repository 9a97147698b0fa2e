"""The one number that a sampler's expression leaves open, and its possible values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from corelm.errors import ParameterError, UsageError
from corelm.params import Parameter
from corelm.plugins.expressions import Written, build, read_stages
from corelm.plugins.registry import registry
from corelm.sampler import Sampler

NEAR = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.03)
WITHIN = (0.0, *NEAR, *(i / 10 for i in range(1, 10)), *(1 - x for x in reversed(NEAR)), 1.0)
"""Shares of the way from the least value to the largest, dense at both ends."""

BEYOND = (
    0.0, 1e-3, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0,
    100.0, 300.0, 1e3, 1e4, 1e6,
)  # fmt: skip
"""Distances from the end of a range that has only one."""


@dataclass(frozen=True)
class FreeParameter:
    """A parameter whose value is to be found.

    Attributes:
        expression: the sampler as the user wrote it, without the parameter.
        stages: its stages.
        stage: the index of the stage with the parameter.
        parameter: the parameter with its rules.
    """

    expression: str
    stages: tuple[Written, ...]
    stage: int
    parameter: Parameter

    @classmethod
    def of(cls, expression: str) -> FreeParameter:
        """Return the number that an expression leaves open.

        The candidates of a stage are its real numbers, or its integers if it has no real ones.

        Raises:
            UsageError: the expression leaves no number open, or several.

        Example:
            >>> FreeParameter.of("top_k(k=50) | temperature").parameter.name
            't'
        """
        stages = tuple(read_stages(expression))
        open_ = [
            cls(expression, stages, at, parameter)
            for at, stage in enumerate(stages)
            for parameter in _left_open(stage)
        ]
        if len(open_) != 1:
            raise UsageError(f"{expression} {_fault(open_)}")
        return open_[0]

    def at(self, value: float) -> Sampler:
        """Return the sampler with this value."""
        name, values, named = self.stages[self.stage]
        whole = list(self.stages)
        whole[self.stage] = (name, values, {**named, self.parameter.name: value})
        return build(whole)

    def values(self) -> list[float]:
        """Return values from one end of its range to the other, in rising order."""
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


def _left_open(stage: Written) -> list[Parameter]:
    name, values, named = stage
    declared = registry().sampler(name).parameters()
    unnamed = declared[len(values) :]
    open_ = [p for p in unnamed if not {p.name, *p.rule.aliases} & set(named)]
    kind = float if any(p.type is float for p in declared) else int
    return [p for p in open_ if p.type is kind]


def _fault(open_: list[FreeParameter]) -> str:
    if not open_:
        return (
            "leaves no number open to match; write the bare name of a sampler that has one, such "
            "as top_p"
        )
    names = [each.parameter.name for each in open_]
    return f"leaves {' and '.join(names)} open; give all of them except one"
