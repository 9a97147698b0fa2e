"""Win rates from verdicts, over the same independent units as every other figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from corelm_report.judging.files import Verdict
from corelm_report.judging.pairs import Pair
from corelm_report.metrics.conclusions import holm
from corelm_report.metrics.estimates import FEWEST, Interval, within
from corelm_report.metrics.inference import Inference, Sample
from corelm_report.metrics.intervals import KnownByInterval

Judged = Sequence[tuple[Pair, Verdict]]
EVEN = KnownByInterval(0.5, [0.5, 0.5])
"""The win rate of a sampler that is as good as the other one."""
SHARES = (0.0, 1.0)


@dataclass(frozen=True)
class WinRate:
    """The share of the pairs in which the text of a sampler is better; a tie is half a win.

    Attributes:
        sampler, against, model: the two samplers and the model.
        rate: the share.
        ends: its 95 % interval; None with too few units.
        p: the two-sided p-value for a true rate of 1/2.
        pairs: the number of pairs that were judged.
        units: the number of independent units.
        p_holm: the p-value with Holm's correction for all samplers.
    """

    sampler: str
    against: str
    model: str
    rate: float
    ends: Interval | None
    p: float | None
    pairs: int
    units: int
    p_holm: float | None = None


@dataclass(frozen=True)
class JudgeError:
    """The error of a model's verdicts against people's, on the pairs that both have judged.

    Attributes:
        agreement: the share of the pairs with the same verdict, and its interval; pairs that
            either calls a tie are left out.
        bias: how much more often the model prefers the sampler than people do.
        pairs: the number of pairs that both have judged.
    """

    agreement: KnownByInterval
    bias: KnownByInterval
    pairs: int


Clusters = Mapping[str, str]


def win_rates(judged: Judged, clusters: Clusters) -> list[WinRate]:
    """Return the win rate of each sampler.

    Args:
        judged: the verdicts with their pairs; several judges of one pair are averaged.
        clusters: the cluster of each prompt; empty if each is its own.
    """
    found = [_win_rate(pairs, wins, clusters) for pairs, wins in _by_sampler(judged)]
    return _corrected(found)


def corrected_win_rates(people: Judged, model: Judged, clusters: Clusters) -> list[WinRate]:
    """Return win rates from a model's verdicts, corrected by people's on some of the pairs.

    The model's mean error on the pairs that people have also judged is subtracted from its win rate
    on all pairs, and widens the interval. So the rates estimate people's, however good the model
    is; a good model makes them more precise.

    Source: Angelopoulos et al. 2023, Prediction-powered inference, doi 10.1126/science.adi6000.

    Args:
        people: the verdicts of people.
        model: the verdicts of the model.
        clusters: the cluster of each prompt.
    """
    of_people = {pairs[0].model + pairs[0].sampler: (pairs, w) for pairs, w in _by_sampler(people)}
    found = []
    for pairs, wins in _by_sampler(model):
        known = of_people.get(pairs[0].model + pairs[0].sampler)
        if known is not None:
            rate = _prediction_powered(pairs, wins, dict(zip(*known, strict=True)), clusters)
            found += [rate] if rate is not None else []
    return _corrected(found)


def errors_of_model(people: Judged, model: Judged, clusters: Clusters) -> JudgeError | None:
    """Return the error of a model's verdicts; None if there is no pair that both have judged."""
    first, second = (_by_pair(each) for each in (people, model))
    both = [pair for pair in first if pair in second]
    if not both:
        return None
    clear = [pair for pair in both if 0.5 not in (first[pair], second[pair])]
    same = [float((first[pair] > 0.5) == (second[pair] > 0.5)) for pair in clear]
    agreement = _units(clear, clusters).share((same, [1.0] * len(clear)))
    apart = [second[pair] - first[pair] for pair in both]
    bias = _units(both, clusters).estimate((apart, [1.0] * len(both)))
    if bias is None:
        return None
    return JudgeError(
        agreement, KnownByInterval(bias.value, bias.interval(), bias.units), len(both)
    )


def of_first_shown(judged: Judged, clusters: Clusters) -> KnownByInterval:
    """Return how often the text shown first is preferred: 1/2 without a position bias."""
    sums: dict[Pair, list[float]] = {}
    for pair, verdict in judged:
        sums.setdefault(pair, []).append(verdict.first)
    means = [math.fsum(each) / len(each) for each in sums.values()]
    return _units(list(sums), clusters).share((means, [1.0] * len(means)))


def _win_rate(pairs: Sequence[Pair], wins: Sequence[float], clusters: Clusters) -> WinRate:
    units = _units(pairs, clusters)
    found = units.share((wins, [1.0] * len(wins)))
    # The score interval has a width even if every pair was won; with too few units there is none.
    ends = found.ends if len(units) >= FEWEST else None
    known = KnownByInterval(found.value, ends, len(units))
    return WinRate(
        pairs[0].sampler, pairs[0].against, pairs[0].model, found.value or 0.0, ends,
        (known - EVEN).p_value(), len(pairs), len(units),
    )  # fmt: skip


def _prediction_powered(
    pairs: Sequence[Pair], wins: Sequence[float], people: Mapping[Pair, float], clusters: Clusters
) -> WinRate | None:
    units = _units(pairs, clusters)
    both = [float(pair in people) for pair in pairs]
    apart = [
        win - people[pair] if pair in people else 0.0 for pair, win in zip(pairs, wins, strict=True)
    ]
    mean, error = units.estimate((wins, [1.0] * len(wins))), units.estimate((apart, both))
    if mean is None or error is None:
        return None
    found = mean - error
    even = found.moved(1.0, found.value - 0.5)
    return WinRate(
        pairs[0].sampler, pairs[0].against, pairs[0].model, found.value,
        within(found.interval(), SHARES), even.p_value(), len(pairs), len(units),
    )  # fmt: skip


def _units(pairs: Iterable[Pair], clusters: Clusters) -> Inference:
    samples: list[Sample] = [pair.sample for pair in pairs]
    return Inference.of_design(samples, clusters=clusters)


def _by_pair(judged: Judged) -> dict[Pair, float]:
    """Return the mean win of the sampler in each pair, over its judges."""
    wins: dict[Pair, list[float]] = {}
    for pair, verdict in judged:
        wins.setdefault(pair, []).append(1 - verdict.first if pair.swapped else verdict.first)
    return {pair: math.fsum(each) / len(each) for pair, each in wins.items()}


def _by_sampler(judged: Judged) -> list[tuple[list[Pair], list[float]]]:
    found: dict[tuple[str, str], tuple[list[Pair], list[float]]] = {}
    for pair, win in _by_pair(judged).items():
        pairs, wins = found.setdefault((pair.model, pair.sampler), ([], []))
        pairs.append(pair)
        wins.append(win)
    return list(found.values())


def _corrected(found: Sequence[WinRate]) -> list[WinRate]:
    tested = [each for each in found if each.p is not None]
    adjusted = dict(zip(map(id, tested), holm([each.p or 0.0 for each in tested]), strict=True))
    return [replace(each, p_holm=adjusted.get(id(each))) for each in found]
