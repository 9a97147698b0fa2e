"""`corelm study judge`: write blinded pairs of a study, read the verdicts, and show win rates.

Win rates are over the same independent units as every other figure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from corelm.commands import ExitCode, Output, blocks, messages
from corelm.errors import UsageError
from corelm.runs import SafeFile, printable
from corelm_pages.formats import NARROW, with_interval
from corelm_pages.report import Report, document_of
from corelm_report.document.figures import SHARES
from corelm_report.document.lookup import share
from corelm_stats.conclusions import with_holm
from corelm_stats.estimates import FEWEST, MANY, within
from corelm_stats.inference import Inference, Sample
from corelm_stats.intervals import Interval, KnownByInterval
from corelm_study.judging.pairs import (
    Pair,
    chosen,
    pairs_as_csv,
    pairs_as_page,
    pairs_of,
    read_judges,
)

Judged = Sequence[tuple[Pair, float]]
"""Pairs, and the share of a win for the text shown first."""
PAGES = (".html", ".htm")
HEADER = ("sampler", "win rate", "95% interval", "p (Holm)", "pairs", "units")


def write_pairs(reports: Iterable[tuple[str, Report]], file: Path, count: int) -> int:
    """Write blinded pairs of all models, as a page if the file's name ends in .html, else as CSV.

    Raises:
        UsageError: the reports have no pairs.
    """
    pairs, design = _all_pairs(reports)
    pairs = chosen(pairs, count)
    if not pairs:
        if design.equal:
            equal = printable.counted(design.equal, "pair")
            raise UsageError(f"there is nothing to judge: {equal} of equal texts, and no other")
        raise UsageError(
            'the results keep no pair of texts: write texts = "all" in the study and run it again'
        )
    content = pairs_as_page(pairs) if file.suffix in PAGES else pairs_as_csv(pairs)
    SafeFile(file).write(content.encode("utf-8", "replace"))
    messages.tell(f"{printable.counted(len(pairs), 'pair')} written to {file}", "note")
    if design.equal:
        equal = printable.counted(design.equal, "pair")
        messages.tell(f"{equal} of equal texts left out", "note")
    return ExitCode.DONE


def show_verdicts(
    reports: Iterable[tuple[str, Report]],
    people: Sequence[Path],
    by_model: Sequence[Path],
    out: Output,
) -> int:
    """Show the win rates of verdicts by people, by a model, and by the model corrected by people.

    Args:
        reports: the reports of the study, by model.
        people: files of people's verdicts.
        by_model: files of a model's verdicts.
        out: the output.

    Raises:
        UsageError: a file that cannot be read, is of a different study, or has no verdict.
    """
    pairs, design = _all_pairs(reports)
    by_id = {pair.id: pair for pair in pairs}
    judges = [read_judges(files, by_id) for files in (people, by_model)]
    of_people, of_model = ([each for own in them for each in own.items()] for them in judges)
    if not of_people and not of_model:
        raise UsageError("there is no verdict on any pair: the judges skipped them all")
    out.show(blocks.line(design.sentence()))
    titles = "Verdicts of people", "Verdicts of the model"
    for title, them, judged in zip(titles, judges, (of_people, of_model), strict=True):
        if judged:
            count = printable.counted(len(them), "judge")
            _show_rates(f"{title}, {count}", win_rates(judged, design), out)
            first = of_first_shown(judged, design)
            out.show(blocks.line(f"The text shown first was preferred in {_named(first)}."))
    if of_people and of_model:
        _show_model(of_people, of_model, design, out)
    return ExitCode.DONE


@dataclass(frozen=True)
class Design:
    """The independent units of a study, also if only a part of its pairs was judged.

    Attributes:
        clusters: the cluster of each prompt; empty if each is its own.
        prompts: the prompts of the study.
        equal: the number of pairs that were left out, since their texts are equal.
    """

    clusters: Mapping[Any, str]
    prompts: frozenset[Any]
    equal: int

    @property
    def about_prompts(self) -> bool:
        """True if the units are prompts or their clusters, False if they are samples."""
        return len({self.clusters.get(prompt, prompt) for prompt in self.prompts}) >= MANY

    def units(self, pairs: Iterable[Pair]) -> Inference:
        """Return the units of pairs."""
        samples: list[Sample] = [pair.sample for pair in pairs]
        if not self.about_prompts:
            return Inference.of_design(samples, clusters=self.clusters)
        # The pairs of few prompts, of a study with many, are still no independent samples.
        prompts = [self.clusters.get(prompt, prompt) for prompt, _, _ in samples]
        return replace(Inference.of_names(prompts, prompts), about_prompts=True)

    def sentence(self) -> str:
        """Return what the win rates are about."""
        kind, count = "clusters of prompts" if self.clusters else "prompts", len(self.prompts)
        these = "this prompt" if count == 1 else f"these {count} prompts"
        about = (
            f"Units are {kind}: the win rates are about other prompts like these."
            if self.about_prompts
            else f"Units are samples: the win rates are about {these} alone."
        )
        left_out = f" {printable.counted(self.equal, 'pair')} of equal texts left out."
        return about + left_out if self.equal else about


def _all_pairs(reports: Iterable[tuple[str, Report]]) -> tuple[list[Pair], Design]:
    pairs: list[Pair] = []
    clusters: dict[str, str] = {}
    prompts: set[str] = set()
    for model, report in reports:
        document = document_of(report)
        pairs += pairs_of(document, model)
        clusters |= document.header.cluster_of
        prompts |= {*document.header.prompts}
    different = [pair for pair in pairs if pair.texts[0] != pair.texts[1]]
    return different, Design(clusters, frozenset(prompts), len(pairs) - len(different))


def _show_model(people: Judged, model: Judged, design: Design, out: Output) -> None:
    """Show the model's error, and its win rates corrected by people's verdicts."""
    error = errors_of_model(people, model, design)
    if error is None:
        out.show(blocks.line("People and the model have judged no pair in common."))
        return
    agreement, bias, clear, count = error
    corrected = corrected_win_rates(people, model, design)
    _show_rates("Verdicts of the model, corrected by people's", corrected, out)
    pairs = f"{printable.counted(count, 'pair')} that both have judged"
    if clear < count:
        pairs = f"the {clear:,} of {pairs} where neither says tie"
    agrees = f"On {pairs}, the model agrees with people in {_named(agreement)}"
    less = (bias.value or 0.0) < 0
    apart = _named(KnownByInterval(0.0, [0.0, 0.0]) - bias if less else bias)
    by = f"{'less' if less else 'more'} often than people do, by {apart.replace('%', ' points')}"
    out.show(
        blocks.line(
            f"{agrees if clear else 'Of the pairs that both have judged, none is without a tie'}. "
            f"The model prefers the sampler {'as often as people do' if apart == '0' else by}."
        )
    )


def _show_rates(title: str, rates: Sequence[WinRate], out: Output) -> None:
    several = len({rate.model for rate in rates}) > 1
    out.show(blocks.line(title, "bold"))
    out.rows(
        HEADER,
        [
            (f"{rate.sampler} over {rate.against}" + several * f", {rate.model}",
             *_win_rate_with_ends(rate.rate, rate.ends),
             "none" if rate.p_holm is None else f"{rate.p_holm:.2g}",
             f"{rate.pairs:,}", f"{rate.units:,}")
            for rate in rates
        ],
    )  # fmt: skip


def _win_rate_with_ends(rate: float, ends: Sequence[float] | None) -> tuple[str, str]:
    text, interval = with_interval(share, rate, ends)
    return text, "none" if ends is None else interval or NARROW


def _named(rate: KnownByInterval) -> str:
    if rate.value is None:
        return "none of them"
    text, ends = with_interval(share, rate.value, rate.ends)
    return f"{text} ({ends})" if ends else text


EVEN = KnownByInterval(0.5, [0.5, 0.5])
"""The win rate of a sampler that is as good as the other one."""


@dataclass(frozen=True)
class WinRate:
    """The share of the pairs in which the text of a sampler is better; a tie is half a win.

    Attributes:
        model, sampler, against: the model, and the two samplers.
        rate: the share.
        ends: its 95 % interval; None with too few units.
        p: the two-sided p-value for a true rate of 1/2.
        pairs: the number of pairs that were judged.
        units: the number of independent units.
        p_holm: the p-value with Holm's correction for all samplers.
    """

    model: str
    sampler: str
    against: str
    rate: float
    ends: Interval | None
    p: float | None
    pairs: int
    units: int
    p_holm: float | None = None


def win_rates(judged: Judged, design: Design) -> list[WinRate]:
    """Return the win rate of each sampler.

    Args:
        judged: the verdicts with their pairs; several judges of one pair are averaged.
        design: the units of the study.
    """
    return with_holm([_win_rate(pairs, wins, design) for pairs, wins in _by_sampler(judged)])


def corrected_win_rates(people: Judged, model: Judged, design: Design) -> list[WinRate]:
    """Return win rates from a model's verdicts, corrected by people's on some of the pairs.

    The model's mean error on the pairs that people have also judged is subtracted from its win rate
    on all pairs, and widens the interval. So the rates estimate people's, however good the model
    is; a good model makes them more precise.

    Source: Angelopoulos et al. 2023, Prediction-powered inference, doi 10.1126/science.adi6000.

    Args:
        people: the verdicts of people.
        model: the verdicts of the model.
        design: the units of the study.
    """
    of_people = {pairs[0].model + pairs[0].sampler: (pairs, w) for pairs, w in _by_sampler(people)}
    rates = []
    for pairs, wins in _by_sampler(model):
        verdicts = of_people.get(pairs[0].model + pairs[0].sampler)
        if verdicts is not None:
            rate = _prediction_powered(pairs, wins, dict(zip(*verdicts, strict=True)), design)
            rates += [rate] if rate is not None else []
    return with_holm(rates)


def errors_of_model(
    people: Judged, model: Judged, design: Design
) -> tuple[KnownByInterval, KnownByInterval, int, int] | None:
    """Compare a model's verdicts with people's; None if there is no pair that both have judged.

    Returns:
        The share of the pairs with the same verdict, without pairs that either calls a tie; how
        much more often the model prefers the sampler; the number of pairs that neither calls a
        tie; the number of pairs that both have judged.
    """
    first, second = (_by_pair(each) for each in (people, model))
    both = [pair for pair in first if pair in second]
    clear = [pair for pair in both if 0.5 not in (first[pair], second[pair])]
    same = [float((first[pair] > 0.5) == (second[pair] > 0.5)) for pair in clear]
    apart = [second[pair] - first[pair] for pair in both]
    bias = design.units(both).estimate((apart, [1.0] * len(both)))
    if bias is None:
        return None
    apart_by = KnownByInterval(bias.value, bias.interval(), bias.units)
    return _share(clear, same, design), apart_by, len(clear), len(both)


def of_first_shown(judged: Judged, design: Design) -> KnownByInterval:
    """Return how often the text shown first is preferred: 1/2 without a position bias."""
    wins = _by_pair(judged)
    means = [1 - win if pair.swapped else win for pair, win in wins.items()]
    return _share(list(wins), means, design)


def _share(pairs: Sequence[Pair], values: Sequence[float], design: Design) -> KnownByInterval:
    """Return a mean over pairs with its score interval, if there are enough units.

    The interval has a width even if every pair was won.
    """
    units = design.units(pairs)
    mean = units.share((values, [1.0] * len(values)))
    return mean if len(units) >= FEWEST else replace(mean, ends=None)


def _win_rate(pairs: Sequence[Pair], wins: Sequence[float], design: Design) -> WinRate:
    rate = _share(pairs, wins, design)
    return WinRate(
        pairs[0].model, pairs[0].sampler, pairs[0].against, rate.value or 0.0, rate.ends,
        (rate - EVEN).p_value(), len(pairs), rate.units or 0,
    )  # fmt: skip


def _prediction_powered(
    pairs: Sequence[Pair], wins: Sequence[float], people: Mapping[Pair, float], design: Design
) -> WinRate | None:
    units = design.units(pairs)
    both = [float(pair in people) for pair in pairs]
    if all(both):
        return _win_rate([*people], [*people.values()], design)
    apart = [
        win - people[pair] if pair in people else 0.0 for pair, win in zip(pairs, wins, strict=True)
    ]
    mean, error = units.estimate((wins, [1.0] * len(wins))), units.estimate((apart, both))
    if mean is None or error is None:
        return None
    corrected = mean - error
    even = corrected.moved(1.0, corrected.value - 0.5)
    # Judges who agree on all pairs do not show how much they would differ on others.
    is_known = corrected.variance > 0
    return WinRate(
        pairs[0].model, pairs[0].sampler, pairs[0].against, min(max(corrected.value, 0.0), 1.0),
        within(corrected.interval(), SHARES) if is_known else None,
        even.p_value() if is_known else None, len(pairs), len(units),
    )  # fmt: skip


def _by_pair(judged: Judged) -> dict[Pair, float]:
    """Return the mean win of the sampler in each pair, over its judges."""
    wins: dict[Pair, list[float]] = {}
    for pair, first in judged:
        wins.setdefault(pair, []).append(1 - first if pair.swapped else first)
    return {pair: math.fsum(each) / len(each) for pair, each in wins.items()}


def _by_sampler(judged: Judged) -> list[tuple[list[Pair], list[float]]]:
    groups: dict[tuple[str, str], tuple[list[Pair], list[float]]] = {}
    for pair, win in _by_pair(judged).items():
        pairs, wins = groups.setdefault((pair.model, pair.sampler), ([], []))
        pairs.append(pair)
        wins.append(win)
    return list(groups.values())
