"""`corelm study read`: the paired differences between logs, over questions or clusters of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from corelm.commands import ExitCode, Output, blocks
from corelm.errors import UsageError
from corelm.runs import printable
from corelm_pages.formats import NARROW, Rounding, number, with_interval
from corelm_stats.conclusions import with_holm
from corelm_stats.estimates import FEWEST, Estimate
from corelm_stats.inference import Inference
from corelm_stats.intervals import Interval, KnownByInterval
from corelm_study.logs.answers import Answer, read_answers

HEADER = ("log", "score", "mean", "difference", "95% interval", "p (Holm)", "questions", "units")


def show_logs(
    paths: Sequence[Path], metrics: Sequence[str], cluster: str | None, out: Output
) -> int:
    """Show the differences of every log from the first one.

    Raises:
        UsageError: fewer than two logs, or logs without a common score or question.
    """
    if len(paths) < 2:
        raise UsageError("give two logs or more: the others are compared with the first")
    names = _names(paths)
    logs = {name: read_answers(path, cluster) for name, path in zip(names, paths, strict=True)}
    differences = paired_differences(logs, metrics)
    # A log that lacks questions is compared with the first log on the others alone.
    first = {(each.metric, each.values[1], each.questions): _first(each) for each in differences}
    out.rows(HEADER, [*first.values(), *map(_row, differences)])
    out.show(blocks.line(f"Differences are from {names[0]}, paired by question."))
    left_out = max(each.left_out for each in differences)
    if left_out:
        out.show(
            blocks.line(f"Left out: {printable.counted(left_out, 'question')}, each in one log.")
        )
    if min(each.units for each in differences) < FEWEST:
        out.show(blocks.line(f"Fewer than {FEWEST} independent units have no interval."))
    if any(each.ends is None and each.units >= FEWEST for each in differences):
        out.show(
            blocks.line("One difference on all units has no interval, unless scores are 0 to 1.")
        )
    return ExitCode.DONE


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest distinct names of files."""
    for parts in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise UsageError("the same log is given twice")


def _first(each: LogDifference) -> tuple[str, ...]:
    """Return the row of the first log, with the digits of one of its differences."""
    return each.against, each.metric, each.mean(1), "", "", "", f"{each.questions:,}", ""


def _row(each: LogDifference) -> tuple[str, ...]:
    p = "none" if each.p_holm is None else f"{each.p_holm:.2g}"
    apart, ends = with_interval(number, each.difference, each.ends, difference=True)
    ends = "none" if each.ends is None else ends or NARROW
    return (
        each.log, each.metric, each.mean(0), apart, ends, p, f"{each.questions:,}",
        f"{each.units:,}",
    )  # fmt: skip


@dataclass(frozen=True)
class LogDifference:
    """The mean score of one log minus another log's, on the questions of both.

    Attributes:
        metric: the score.
        log: the name of the log.
        against: the name of the log that is subtracted.
        values: both means.
        difference: their difference.
        ends: its 95 % interval; None with too few units.
        p: the two-sided p-value for a true difference of 0.
        questions: the number of questions in both logs.
        left_out: the number of questions in only one of the logs.
        units: the number of independent units.
        p_holm: the p-value with Holm's correction for all differences.
    """

    metric: str
    log: str
    against: str
    values: tuple[float, float]
    difference: float
    ends: Interval | None
    p: float | None
    questions: int
    left_out: int
    units: int
    p_holm: float | None = None

    def mean(self, log: int) -> str:
        """Format the mean of the first or second log, with the digits of the difference."""
        low, high = self.ends or (None, None)
        rounding = Rounding.by_interval(number, self.difference, low, high, apart_from=(0.0,))
        return rounding.text(self.values[log])


def paired_differences(
    logs: Mapping[str, Sequence[Answer]], metrics: Sequence[str] = ()
) -> list[LogDifference]:
    """Return the differences of every log from the first one, corrected for their number.

    Two samplers answer the same questions, so their answers are paired, and the difficulty of the
    questions cancels. Several answers to a question are one unit, and so are the questions of a
    cluster.

    Args:
        logs: the answers by the name of the log.
        metrics: the scores to compare; by default all common ones.

    Raises:
        UsageError: no score or no question in common.

    Source: Miller 2024, Adding error bars to evals, arXiv 2411.00640 (paired differences, clustered
    standard errors).
    """
    (first, base), *others = logs.items()
    differences = []
    for name, answers in others:
        for metric in dict.fromkeys(metrics) or _common(base, answers):
            pair = [_of_metric(each, metric) for each in (answers, base)]
            differences.append(_difference(metric, (name, first), pair[0], pair[1]))
    return with_holm(differences)


def _common(first: Iterable[Answer], second: Iterable[Answer]) -> list[str]:
    names = dict.fromkeys(answer.metric for answer in first)
    other = {answer.metric for answer in second}
    common = [name for name in names if name in other]
    if not common:
        raise UsageError(
            f"the logs have no score in common: {', '.join(names)} and {', '.join(sorted(other))}"
        )
    return common


def _of_metric(answers: Iterable[Answer], metric: str) -> dict[str, list[Answer]]:
    """Return the answers with a score, by question."""
    by_question: dict[str, list[Answer]] = {}
    for answer in answers:
        if answer.metric == metric:
            by_question.setdefault(answer.question, []).append(answer)
    return by_question


def _difference(
    metric: str,
    names: tuple[str, str],
    own: Mapping[str, list[Answer]],
    other: Mapping[str, list[Answer]],
) -> LogDifference:
    both = [question for question in own if question in other]
    if not both:
        raise UsageError(
            f"{names[0]} and {names[1]} have no question with a score {metric} in common: are they "
            "logs of one task, with the same data?"
        )
    for each in both:
        answers = (*own[each], *other[each])
        for what, given in (
            ("asks for something else", {one.content for one in answers}),
            ("belongs to another cluster", {one.cluster for one in answers}),
        ):
            if len(given) > 1:
                raise UsageError(
                    f"{names[0]} and {names[1]} are logs of different data: question "
                    f"{printable.shown(each)} {what} in each"
                )
    means = [_mean({question: each[question] for question in both}) for each in (own, other)]
    apart = means[0] - means[1]
    ends, p = apart.interval(), apart.p_value()
    if ends and apart.value and ends[0] == ends[1]:
        scores = (answer.value for each in both for answer in (*own[each], *other[each]))
        ends, p = _of_constant(apart, all(0 <= score <= 1 for score in scores))
    return LogDifference(
        metric, names[0], names[1], (means[0].value, means[1].value), apart.value, ends, p,
        len(both), len(own.keys() ^ other.keys()), apart.units or 0,
    )  # fmt: skip


def _of_constant(apart: Estimate, are_shares: bool) -> tuple[Interval | None, float | None]:
    """Return the interval and the p-value of a difference that is the same on every unit.

    Other units may differ, but nothing bounds by how much, unless the scores are from 0 to 1.
    """
    n = apart.units or 0
    halves = [(apart.value + 1) / 2] * n, [1.0] * n
    ends = Inference.of_names(range(n)).common_share(halves) if are_shares else None
    ends = ends and [2 * end - 1 for end in ends]
    p = KnownByInterval(apart.value, ends, n).p_value()
    # That of the exact sign test is the least that so few units can have.
    return ends, None if p is None else max(p, 2.0 ** (1 - n))


def _mean(answers: Mapping[str, list[Answer]]) -> Estimate:
    """Return the mean over questions, each with the mean of its answers."""
    # A question that a data set has twice is one unit, too.
    clusters = [each[0].cluster or each[0].content or question
                for question, each in answers.items()]  # fmt: skip
    sums = [sum(a.value for a in each) / len(each) for each in answers.values()]
    mean = Inference.of_names(clusters).estimate((sums, [1.0] * len(sums)))
    assert mean is not None  # there is at least one question
    return mean
