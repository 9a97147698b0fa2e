"""The papers that define the figures of a report, as their functions name them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from corelm import entropy
from corelm.reports.document.lookup import figures
from corelm.reports.measure.on_contexts import human_recall
from corelm.reports.metrics import intervals, positions, self_bleu, texts
from corelm.toolkit import divergence, ends_in_loop, jensen_shannon, source_of

FUNCTIONS = {
    entropy: ("entropy.mean",),
    divergence: ("kl_to_model",),
    jensen_shannon: ("jensen_shannon",),
    human_recall: ("human_recall",),
    texts.distinct: ("distinct_1", "distinct_2", "distinct_3"),
    texts.repetition: ("rep_2", "rep_3", "rep_4"),
    texts.diversity: ("diversity",),
    ends_in_loop: ("loops",),
    self_bleu.self_bleu: ("self_bleu_4",),
    texts.zipf: ("zipf",),
    texts.compression: ("compression",),
    positions.outside: ("outside_human_band",),
}
"""The figures that each function computes."""
INTERVALS = {
    intervals.mean_interval: "intervals of means",
    intervals.share_interval: "intervals of shares",
    intervals.jackknife: "intervals of figures of a whole set",
}


def sources(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the sources of the figures that some rows have, and those of the intervals."""
    measured = {figure.metric for row in rows if not row["error"] for figure in figures(row)}
    found = [
        {"of": [name for name in names if name in measured], "source": source_of(function)}
        for function, names in FUNCTIONS.items()
    ]
    found += [{"of": [name], "source": source_of(each)} for each, name in INTERVALS.items()]
    return [each for each in found if each["of"] and each["source"] and measured]
