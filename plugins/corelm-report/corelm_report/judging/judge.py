"""`corelm study judge`: write blinded pairs of a study, and read the verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from corelm.commands import ExitCode, Output, blocks, messages
from corelm.errors import UsageError
from corelm.runs import SafeFile, printable
from corelm_report.document.figure import share
from corelm_report.judging.files import (
    matched,
    pairs_as_csv,
    pairs_as_page,
    read_verdicts,
)
from corelm_report.judging.pairs import Pair, chosen, pairs_of
from corelm_report.judging.win_rates import (
    Clusters,
    Judged,
    WinRate,
    corrected_win_rates,
    errors_of_model,
    of_first_shown,
    win_rates,
)
from corelm_report.metrics.intervals import KnownByInterval
from corelm_report.report import Report, document_of

PAGES = (".html", ".htm")
HEADER = ("sampler", "win rate", "95 % interval", "p (Holm)", "pairs", "units")


def write_pairs(reports: Iterable[tuple[str, Report]], file: Path, count: int) -> int:
    """Write blinded pairs of all models, as a page if the file's name ends in .html, else as CSV.

    Raises:
        UsageError: the reports have no pairs.
    """
    pairs = chosen(_all_pairs(reports)[0], count)
    if not pairs:
        raise UsageError(
            'the results keep no pair of texts: write texts = "all" in the study and run it again'
        )
    content = pairs_as_page(pairs) if file.suffix in PAGES else pairs_as_csv(pairs)
    SafeFile(file).write(content.encode("utf-8", "replace"))
    messages.note(f"{printable.counted(len(pairs), 'pair')} written to {file}")
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
        UsageError: a file that cannot be read, or is of a different study.
    """
    pairs, clusters = _all_pairs(reports)
    of_people, of_model = (
        [each for path in files for each in matched(read_verdicts(path), pairs, path.name)]
        for files in (people, by_model)
    )
    for title, judged in (("Verdicts of people", of_people), ("Verdicts of the model", of_model)):
        if judged:
            _show_rates(title, win_rates(judged, clusters), out)
            first = of_first_shown(judged, clusters)
            out.show(blocks.line(f"The text shown first was preferred in {_named(first)}."))
    if of_people and of_model:
        _show_model(of_people, of_model, clusters, out)
    return ExitCode.DONE


def _all_pairs(reports: Iterable[tuple[str, Report]]) -> tuple[list[Pair], Clusters]:
    pairs: list[Pair] = []
    clusters: dict[str, str] = {}
    for model, report in reports:
        document = document_of(report)
        pairs += pairs_of(document, model)
        clusters |= document.header.cluster_of
    return pairs, clusters


def _show_model(people: Judged, model: Judged, clusters: Clusters, out: Output) -> None:
    """Show the model's error, and its win rates corrected by people's verdicts."""
    error = errors_of_model(people, model, clusters)
    if error is None:
        out.show(blocks.line("People and the model have judged no pair in common."))
        return
    corrected = corrected_win_rates(people, model, clusters)
    _show_rates("Verdicts of the model, corrected by people's", corrected, out)
    out.show(
        blocks.line(
            f"On {printable.counted(error.pairs, 'pair')} that both have judged, the model agrees "
            f"with people in {_named(error.agreement)}; it prefers the sampler more often than "
            f"they do by {_named(error.bias)}."
        )
    )


def _show_rates(title: str, rates: Sequence[WinRate], out: Output) -> None:
    out.show(blocks.line(title, "bold"))
    out.rows(
        HEADER,
        [
            (f"{rate.sampler} over {rate.against}", share(rate.rate), _ends(rate.ends),
             "none" if rate.p_holm is None else f"{rate.p_holm:.2g}",
             f"{rate.pairs:,}", f"{rate.units:,}")
            for rate in rates
        ],
    )  # fmt: skip


def _ends(ends: Sequence[float] | None) -> str:
    return "none" if ends is None else f"{share(ends[0])} to {share(ends[1])}"


def _named(found: KnownByInterval) -> str:
    if found.value is None:
        return "none of them"
    return f"{share(found.value)} ({_ends(found.ends)})" if found.ends else share(found.value)
