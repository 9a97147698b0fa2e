"""Runs a study, shows its results and compares two of them in the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

from corelm.commands import DONE, FAILED, PARTLY_FAILED, Output, blocks, messages, stages
from corelm.errors import UsageError
from corelm.runs import ExecutorChoice, did_you_mean, label, shown
from corelm_report.cli.terminal import report_table, show_comparison
from corelm_report.document.comparison import comparison, same
from corelm_report.document.content import Document
from corelm_report.document.figures import GENERATED, HUMAN, OF_SETS
from corelm_report.document.gate import Condition, condition
from corelm_report.document.lookup import against, difference, plugin_metrics
from corelm_report.report import Report
from corelm_report.studies.study_file import Study, read_study
from corelm_report.studies.study_reports import (
    PlannedReport,
    StudyResult,
    planned,
    write_lock,
    write_report,
)
from corelm_report.studies.unit_cache import UnitCache


def run_study(study: Study, executor: ExecutorChoice, out: Output) -> int:
    """Measure and write a study; return the exit code."""
    made: list[tuple[PlannedReport, Report]] = []
    with UnitCache() as cache:
        try:
            for each in planned(study):
                for text in each.plan.warnings:
                    messages.tell(f"note: {text}")
                with stages("units") as progress:
                    document = each.document(cache, executor, progress)
                report = Report.of_run(document)
                folder = write_report(study, each.model, report)
                made.append((each, report))
                show_report(label(each.model), report, out)
                messages.note(f"written to {folder}")
        except KeyboardInterrupt:
            messages.note("the finished parts are kept; the same command continues the study")
            raise
        messages.note(f"{cache.misses} parts measured, {cache.hits} taken from earlier runs")
    write_lock(study, made)
    return _exit_code(study.fail_if, [report for _, report in made])


def _exit_code(fail_if: Sequence[str], reports: Sequence[Report]) -> int:
    reasons = [reason for report in reports for reason in _tripped(fail_if, report)]
    for reason in reasons:
        messages.error(reason)
    if reasons:
        return FAILED
    return PARTLY_FAILED if any(report.failed for report in reports) else DONE


def _tripped(fail_if: Sequence[str], report: Report) -> list[str]:
    document = Document.from_dict(report.to_dict())
    samplers = [(entry.sampler, entry.name) for entry in document.samplers]
    conditions: list[Condition] = [
        condition(text, samplers, plugin_metrics(document)) for text in fail_if
    ]
    return [reason for each in conditions if (reason := each.tripped(document))]


def show_report(model: str, report: Report, out: Output) -> None:
    """Write the table of one model."""
    out.show(blocks.line(model, "bold"))
    document = Document.from_dict(report.to_dict())
    out.show(*report_table(document, out.width, out.unicode), blocks.line(""))


def plan_study(
    study: Study, figure: str, size: float, power: float, executor: ExecutorChoice, out: Output
) -> int:
    """Run a study as a pilot, and write how many texts the difference needs."""
    with UnitCache() as cache:
        for each in planned(study):
            with stages("units") as progress:
                pilot = Document.from_dict(each.document(cache, executor, progress))
            found = list(sample_sizes(pilot, figure, size, power))
            sets = len(pilot.header.prompts) * len(pilot.header.seeds)
            rows = [
                (s.sampler, f"{s.deviation:.3g}", f"{s.texts:,}", f"{-(-s.texts // sets):,}")
                for s in found
            ]
            out.show(blocks.line(label(each.model), "bold"))
            out.rows(("sampler", "deviation of a pair", "texts", "samples"), rows)
            needed = max(-(-s.texts // sets) for s in found)
            out.show(
                blocks.line(
                    f"To find a difference of {size:g} in {figure} from {against(pilot)} with a "
                    f"probability of {power:.0%}, write samples = {needed}: each sampler then "
                    f"writes {needed * sets:,} texts. The pilot had {study.samples * sets:,}."
                )
            )
    return DONE


def result_at(place: Path) -> StudyResult:
    """Return the results of a study's file, or those in a folder.

    Raises:
        ReportError: there are none.
    """
    return StudyResult.read(read_study(place).folder if place.suffix == ".toml" else place)


def show_result(result: StudyResult, out: Output) -> int:
    """Write the tables of a result, and what made it."""
    lock = result.lock
    out.show(blocks.line(lock["title"], "bold"), blocks.line(""))
    for model, report in result.reports():
        show_report(model, report, out)
    plugins = {"corelm": lock["versions"]["corelm"], **lock["plugins"]}
    made_by = ", ".join(f"{name} {version}" for name, version in plugins.items())
    out.show(blocks.line(f"Made by {made_by} on {lock['versions']['platform']}.", "dim"))
    return DONE


def diff_results(before: StudyResult, after: StudyResult, out: Output) -> int:
    """Write what differs between two results; return the exit code."""
    first, second = dict(before.reports()), dict(after.reports())
    equal = first.keys() == second.keys()
    for model in [name for name in first if name in second]:
        documents = [Document.from_dict(each[model].to_dict()) for each in (first, second)]
        compared = comparison(*documents)
        equal = equal and same(compared)
        out.show(blocks.line(model, "bold"))
        show_comparison(compared, out)
    for names, where in ((first.keys() - second, "first"), (second.keys() - first, "second")):
        for name in sorted(names):
            out.show(blocks.line(f"Only the {where} has the model {name}."))
    changes = before.changes(after)
    made = f"Made by: {changes}." if changes else "The same settings, versions and code made both."
    out.show(blocks.line(made))
    return DONE if equal else FAILED


NORMAL = NormalDist()
LEVEL = 0.05
"""The two-sided level of the tests, as in the intervals of a report."""


@dataclass(frozen=True)
class SampleSize:
    """The size of a study in which one difference is found.

    Attributes:
        sampler: the sampler whose difference it is.
        deviation: the standard deviation of the paired difference of a text.
        texts: the texts that each sampler must write.
    """

    sampler: str
    deviation: float
    texts: int


def texts_needed(deviation: float, difference: float, power: float) -> int:
    """Return how many pairs of texts show a difference with a given probability.

    Args:
        deviation: the standard deviation of the paired difference of a text.
        difference: the true mean difference, above 0.
        power: the probability that the 95 % interval does not include 0.

    Example:
        >>> texts_needed(1.0, 0.5, 0.8)
        32
    """
    reach = NORMAL.inv_cdf(1 - LEVEL / 2) + NORMAL.inv_cdf(power)
    return max(2, math.ceil((reach * deviation / difference) ** 2))


def sample_sizes(pilot: Document, figure: str, size: float, power: float) -> Iterator[SampleSize]:
    """Yield the size of a study for each sampler of a pilot.

    The deviation comes from the pilot's paired interval, which allows for what the texts of one
    prompt have in common.

    Args:
        pilot: a report with few texts.
        figure: a figure of texts that is a mean over them.
        size: the difference to find, above 0.
        power: the probability of finding it.

    Raises:
        UsageError: the pilot has no paired intervals of this figure.
    """
    if against(pilot) == HUMAN:
        raise UsageError(
            "the size is planned for differences between samplers, whose texts are pairs: name one "
            'of them, such as against = "temperature(t=1.0)"'
        )
    if figure in OF_SETS:
        raise UsageError(
            f"{figure} is a figure of a whole set of texts, and sizes are planned for means over "
            "texts: choose one of these, such as surprisal"
        )
    found = list(_sizes(pilot, figure, size, power))
    if not found:
        named = {name for each in pilot.samplers if each.differences
                 for name, d in each.differences.generated_texts.items()
                 if d.ci95 and name not in OF_SETS}  # fmt: skip
        hint = did_you_mean(figure, named) or f"; there are: {', '.join(sorted(named)) or 'none'}"
        raise UsageError(f"the results have no interval of a difference of {shown(figure)}{hint}")
    yield from found


def _sizes(pilot: Document, figure: str, size: float, power: float) -> Iterator[SampleSize]:
    # A decoder that draws nothing at random writes one text for a prompt, however many are asked.
    most = max(
        (each.generated_texts.n or 0 for each in pilot.samplers if each.generated_texts), default=0
    )
    for entry in pilot.samplers:
        found = difference(entry, figure, GENERATED)
        n = entry.generated_texts.n if entry.generated_texts else None
        if n and found and found.low is not None and found.high is not None and n == most:
            error = (found.high - found.low) / 2 / NORMAL.inv_cdf(1 - LEVEL / 2)
            deviation = error * math.sqrt(n)
            yield SampleSize(entry.sampler, deviation, texts_needed(deviation, size, power))
