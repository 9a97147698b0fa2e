"""The facts about a report besides its figures, and what its readers should be warned of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from corelm.reports.document.provenance import failed_plugins, made_with, name_of
from corelm.reports.measure.contexts import Contexts
from corelm.reports.measure.rows import Row
from corelm.reports.measure.settings import Settings
from corelm.reports.measure.targets import Target
from corelm.toolkit import source_of

FEW = 30
"""The number of positions below which a report warns that its figures say little."""
INTERVALS = (
    "95 %: expanded percentile bootstrap over texts for means, Wilson's score interval for shares "
    "of texts, jackknife over texts for figures of a whole set; those of differences are paired by "
    "text, except from texts of people"
)
Document = dict[str, Any]


def header(
    settings: Settings, rows: Sequence[Row], targets: Mapping[Target, float], contexts: Contexts
) -> Document:
    """Return the facts about a report besides its figures; the command line fills in `command`."""
    return {
        **made_with(),
        "command": None,
        "model": {"name": settings.model_name, "sha256": settings.sha256},
        "scorer": settings.model_name,
        "second_scorer": settings.scorer
        and {"name": settings.scorer.name, "sha256": settings.scorer.sha256},
        "prompts": list(settings.prompts),
        "n": settings.n,
        "length": settings.length,
        "seed": settings.seeds[0],
        "seeds": list(settings.seeds),
        "contexts": {
            "source": contexts.source,
            "description": contexts.description,
            "texts": len(contexts.texts),
            "positions": contexts.positions,
        },
        "failed_plugins": failed_plugins(),
        "settings_tried": dict(Counter(name_of(row.strategy) for row in rows)),
        "metrics": [
            {
                "name": o.full_name,
                "version": o.source.version,
                "meaning": o.value.meaning,
                "source": source_of(o.value.figure or o.value.compare),
            }
            for o in settings.metrics
        ],
        "matched": [
            {"figure": target.figure, "asked": str(target), "target": value}
            for target, value in targets.items()
        ],
        "ci": INTERVALS,
    }


def warnings(settings: Settings, rows: Sequence[Row], contexts: Contexts) -> Iterator[str]:
    """Yield what makes the figures say less than they seem to."""
    yield from settings.warnings
    if contexts.positions < FEW:
        yield (
            f"the samplers were compared at {contexts.positions} positions only, which is too few "
            "for a conclusion; write more texts (--samples) or longer ones (--length)"
        )
    for row in rows if settings.n > 1 else ():
        if row.writes_one_text:
            yield (
                f"{row.name} draws nothing at random, so it wrote one text for each prompt; "
                "give more prompts (--prompts) for more"
            )
