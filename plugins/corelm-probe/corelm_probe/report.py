"""A verdict in words, and as one JSON document."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from corelm_probe.models import UNSEEN
from corelm_probe.verdict import Fit, RivalHypothesis, Verdict

MOST = 6
"""The most alternatives to list."""
WIDTH = 100


def lines(verdict: Verdict) -> Iterator[str]:
    """Yield the lines of a verdict."""
    yield f"{verdict.engine}, model {verdict.model}, {verdict.draws:,} draws"
    yield f"settings   {json.dumps(verdict.settings, default=str)}"
    yield f"meaning    {verdict.fit.chain}"
    for key, reason in verdict.unsupported.items():
        yield f"untested   {key}{f': {reason}' if reason else ''}"
    yield f"verdict    {_summary(verdict)}"
    yield from _tests(verdict.fit, verdict.level)
    if not verdict.consistent:
        yield from _deviation(verdict)
    yield from _alternatives(verdict)
    yield f"unseen     with {verdict.model}: {UNSEEN[verdict.model]}"
    for question, answer in verdict.checks.items():
        yield f"check      {question}: {answer}"


def _summary(verdict: Verdict) -> str:
    if verdict.equal_texts and verdict.explanation is None:
        return (
            f"not independent: {verdict.equal_texts:,} texts are copies of another one after "
            "the same prompt"
        )
    word = "consistent" if verdict.consistent else "not consistent"
    return f"{word} with its settings, p = {_p(verdict.fit.p_value)} (level {verdict.level:g})"


def _tests(fit: Fit, level: float) -> Iterator[str]:
    for test in fit.tests:
        kind = "exact" if test.exact else "chi-square"
        contexts = f" in {test.contexts} contexts" if test.contexts > 1 else ""
        off = f"; furthest off: {test.worst}" if test.p_value <= level else ""
        p_value = f"p = {_p(test.p_value)} ({kind})"
        yield f"           {test.stage}: {test.draws:,}{contexts}, {p_value}{off}"


def _deviation(verdict: Verdict) -> Iterator[str]:
    if verdict.fault:
        yield f"first to deviate, switched on in turn: {verdict.fault}"
    explanation, fresh = verdict.explanation, verdict.explained
    if explanation is not None and fresh is not None:
        yield f"explained  {explanation.about or 'as the settings say, on fresh draws'}"
        yield f"           {shortened(str(explanation.sampler))}"
        tried = f"{verdict.tried:,} hypotheses tried"
        yield f"           p = {_p(fresh.p_value)} on fresh draws; {tried}"
    elif verdict.nearest is not None and fresh is not None:
        yield f"unexplained by {verdict.tried:,} hypotheses; the nearest: {verdict.nearest.about}"
        yield f"           {shortened(str(verdict.nearest.sampler))}, p = {_p(fresh.p_value)}"


def _alternatives(verdict: Verdict) -> Iterator[str]:
    same = [a for a in verdict.alternatives if math.isinf(a.draws)]
    close = [a for a in verdict.alternatives if not math.isinf(a.draws)]
    if same:
        yield "the same distribution here, so no draws can tell it apart:"
        yield from _listed(same)
    if close:
        yield "too close for these draws:"
        yield from _listed(close)


def _listed(rows: list[RivalHypothesis]) -> Iterator[str]:
    for one in rows[:MOST]:
        needed = ""
        if not math.isinf(one.draws):
            needed = f" (some {_rounded(one.draws):,} draws in all would do)"
        yield f"           {one.hypothesis.about or 'as the settings say'}{needed}"
    if len(rows) > MOST:
        yield f"           and {len(rows) - MOST} more"


def _rounded(draws: float) -> int:
    """Round a number to two significant digits."""
    return int(float(f"{draws:.1e}"))


def _p(p_value: float) -> str:
    return "0, impossible tokens" if p_value == 0 else f"{p_value:.2g}"


def shortened(text: str) -> str:
    """Return an expression without the middle of its longest lists."""
    return text if len(text) <= 2 * WIDTH else f"{text[:WIDTH]} ... {text[-WIDTH // 2 :]}"


def document(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as JSON."""
    return {
        "format": "corelm.probe/1",
        "engine": verdict.engine,
        "model": verdict.model,
        "settings": dict(verdict.settings),
        "chain": str(verdict.fit.chain),
        "draws": verdict.draws,
        "level": verdict.level,
        "consistent": verdict.consistent,
        "equal_texts": verdict.equal_texts,
        "fit": _fit(verdict.fit),
        "fault": verdict.fault,
        "explanation": _hypothesis(verdict.explanation),
        "nearest": _hypothesis(verdict.nearest),
        "explained": None if verdict.explained is None else _fit(verdict.explained),
        "tried": verdict.tried,
        "alternatives": [
            {
                **(_hypothesis(one.hypothesis) or {}),
                "draws": None if math.isinf(one.draws) else _rounded(one.draws),
            }
            for one in verdict.alternatives
        ],
        "unsupported": dict(verdict.unsupported),
        "unseen": UNSEEN[verdict.model],
        "checks": dict(verdict.checks),
    }


def _fit(fit: Fit) -> dict[str, Any]:
    return {
        "chain": str(fit.chain),
        "p_value": fit.p_value,
        "tests": [vars(test) for test in fit.tests],
    }


def _hypothesis(one: Any) -> dict[str, Any] | None:
    return None if one is None else {"about": one.about, "chain": str(one.sampler)}
