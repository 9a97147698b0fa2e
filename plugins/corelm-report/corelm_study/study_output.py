"""Run a study, show its results, and compare two results in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from corelm.commands import ExitCode, Output, blocks, messages
from corelm.runs import scaling
from corelm_pages.report import Report, document_of
from corelm_pages.verdict import conclusions, flips, table_of
from corelm_report.document.comparison import comparison, same
from corelm_report.document.content import Document
from corelm_report.document.gate import condition, conditions_of
from corelm_report.document.lookup import short_names
from corelm_study.cli.comparison import show_comparison
from corelm_study.cli.finish_report import exit_code, report_table
from corelm_study.registration import changes, checksum, register
from corelm_study.study_file import Study, read_study
from corelm_study.study_reports import (
    PlannedReport,
    StudyResult,
    made_of,
    planned,
    write_lock,
    write_report,
)
from corelm_study.unit_cache import UnitCache


def run_study(study: Study, executor: scaling.Executor, out: Output) -> int:
    """Measure and write a study; return the exit code."""
    made: list[tuple[PlannedReport, Report]] = []
    with UnitCache() as cache:
        try:
            for each in planned(study):
                check_conditions(study.fail_if, each)
                for text in each.plan.warnings:
                    messages.tell(f"note: {text}")
                with messages.stages("units") as bar:
                    document = each.document(cache, executor, bar)
                report = Report.of_document(document)
                folder = write_report(study, each.name, report)
                made.append((each, report))
                show_report(each.name, report, out)
                if document.header.until:
                    messages.tell(document.header.until, "note")
                messages.tell(f"written to {folder}", "note")
        except KeyboardInterrupt:
            messages.tell(
                "the finished parts are kept; the same command continues the study", "note"
            )
            raise
        messages.tell(
            f"{cache.misses} parts measured, {cache.hits} taken from earlier runs", "note"
        )
        result = write_lock(study, made, cache)
    show_scorers([report for _, report in made], out)
    if result.registration:
        messages.tell(result.registration, "note")
    documents = [document_of(report) for _, report in made]
    checked = [(document, conditions_of(study.fail_if, document)) for document in documents]
    return exit_code(checked, any(report.failed for _, report in made))


def check_conditions(fail_if: Sequence[str], each: PlannedReport) -> None:
    """Check the conditions of a study before anything is measured.

    Raises:
        UsageError: a condition names a sampler or a figure that the study does not have.
    """
    # A matched sampler gets its final name, with the matched parameter, only later.
    candidates = each.plan.candidates
    if any(candidate.open is not None for candidate in candidates):
        return
    samplers = [(c.name, c.name.partition("(")[0]) for c in candidates]
    metrics = short_names(offer.full_name for offer in each.plan.metrics)
    for text in fail_if:
        condition(text, samplers, metrics)


def freeze_study(study: Study, out: Output) -> int:
    """Register a study before it is run: write digests of everything that decides its results."""
    with UnitCache() as cache:
        path, before = register(study.folder, made_of(study, list(planned(study))), cache)
    done = f"Registered before, on {before}, and the same since," if before else "Registered"
    out.show(
        blocks.line(f"{done} in {path}: the study, its data, its models and the code."),
        blocks.line("`corelm study run` says what has changed since, or that nothing has."),
        blocks.line(f"To show others when, publish its sha256: {checksum(path)}"),
    )
    return ExitCode.DONE


def show_report(model: str, report: Report, out: Output) -> None:
    """Write the table of one model."""
    out.show(blocks.line(model, "bold"))
    document = document_of(report)
    out.show(*report_table(document, out.width, out.unicode, details=True), blocks.line(""))


def show_scorers(reports: Iterable[Report], out: Output) -> None:
    """Write the conclusions under several scorers side by side, for each model that has several."""
    by_model: dict[str, list[Document]] = {}
    for report in reports:
        document = document_of(report)
        by_model.setdefault(document.header.model.name, []).append(document)
    for model, documents in by_model.items():
        if len(documents) > 1 and (rows := conclusions(documents)):
            out.show(blocks.line(f"Differences of {model} in bits per byte, by scorer", "bold"))
            out.rows(*table_of(rows))
            out.show(blocks.line(flips(rows)))


def result_at(place: Path) -> StudyResult:
    """Return the results of a study file, or in a folder.

    Raises:
        ReportError: there are none.
    """
    return StudyResult.read(read_study(place).folder if place.suffix == ".toml" else place)


def show_result(result: StudyResult, out: Output, study: Study | None = None) -> int:
    """Write the tables of a result, and its provenance.

    Args:
        result: the result.
        out: the output.
        study: the study as its file is now, to list later edits.
    """
    lock = result.lock
    if study and (edits := scaling.differences(lock["settings"], study.settings())):
        messages.tell(
            f"these results are older than {study.file} ({edits}); run the study again", "note"
        )
    out.show(blocks.line(lock["title"], "bold"), blocks.line(""))
    reports = dict(result.reports())
    for model, report in reports.items():
        show_report(model, report, out)
    show_scorers(reports.values(), out)
    plugins = {"corelm": lock["versions"]["corelm"], **lock["plugins"]}
    made_by = ", ".join(f"{name} {version}" for name, version in plugins.items())
    out.show(blocks.line(f"Made by {made_by} on {lock['versions']['platform']}.", "dim"))
    if result.registration:
        out.show(blocks.line(result.registration, "dim"))
    return ExitCode.DONE


def diff_results(before: StudyResult, after: StudyResult, out: Output) -> int:
    """Write the differences between two results; return the exit code."""
    first, second = dict(before.reports()), dict(after.reports())
    equal = first.keys() == second.keys()
    for model in [name for name in first if name in second]:
        documents = [document_of(each[model]) for each in (first, second)]
        compared = comparison(*documents)
        equal = equal and same(compared)
        out.show(blocks.line(model, "bold"))
        show_comparison(compared, out)
    for names, where in ((first.keys() - second, "first"), (second.keys() - first, "second")):
        for name in sorted(names):
            out.show(blocks.line(f"Only the {where} has the model {name}."))
    differences = changes(before.lock, after.lock)
    same_made = "The same settings, data, versions and code made both."
    out.show(blocks.line(f"Made by: {differences}." if differences else same_made))
    return ExitCode.DONE if equal else ExitCode.FAILED
