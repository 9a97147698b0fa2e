"""A report that grows until a condition on its intervals holds, such as `width(surprisal) < 0.1`.

Each stage has twice as many independent units as the one before. All intervals are confidence
sequences, which stay valid however often one looks, so those of the last stage are valid too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from corelm.errors import UsageError
from corelm.runs import printable
from corelm_report.document.content import Document
from corelm_report.document.figures import GENERATED, of_view
from corelm_report.document.lookup import Measurement, difference, estimate
from corelm_report.measure.journal import Journal, Progress
from corelm_report.measure.run import ReportRun
from corelm_report.plan.plan import Plan, RunUnits
from corelm_stats.estimates import MANY

FIRST = 32
"""The texts of each prompt and seed, or the prompts, in the first stage: a few may lack a kind."""
DIFFERENCE, DRIFT = ".difference", "entropy_drift"
_FORM = re.compile(r"width\(\s*([\w.]+)\s*\)\s*<\s*(\d*\.?\d+(?:e[-+]?\d+)?)", re.IGNORECASE)


@dataclass(frozen=True)
class Until:
    """A condition on the width of one figure's interval, for every sampler of a report.

    Attributes:
        text: the condition as the user wrote it.
        figure: the figure of generated texts.
        of_difference: True for the difference from the entry compared with.
        width: the width below which every interval must be.
    """

    text: str
    figure: str
    of_difference: bool
    width: float

    @classmethod
    def read(cls, text: str) -> Until:
        """Read a condition.

        Raises:
            UsageError: the text is no such condition, or names no figure.

        Example:
            >>> until = Until.read("width(surprisal.difference) < 0.1")
            >>> until.figure, until.of_difference, until.width
            ('surprisal', True, 0.1)
        """
        match = _FORM.fullmatch(text.strip())
        if match is None or not float(match[2]) > 0:
            raise UsageError(
                f"cannot read the condition {printable.shown(text)}; write "
                "width(FIGURE) < NUMBER, such as 'width(surprisal) < 0.1' or "
                "'width(surprisal.difference) < 0.1'"
            )
        figure = match[1].removesuffix(DIFFERENCE)
        every = [each.name for each in of_view(GENERATED)]
        if figure not in every:
            hint = printable.did_you_mean(figure, every) or f"; these are: {', '.join(every)}"
            raise UsageError(f"{printable.shown(text)} names no figure of generated texts{hint}")
        if figure == DRIFT:
            raise UsageError(
                f"{DRIFT} can't be a condition of --until: a few long texts decide it, so its "
                "intervals don't hold at every moment; fix the number of texts instead"
            )
        return cls(text.strip(), figure, match[1].endswith(DIFFERENCE), float(match[2]))

    def misses(self, document: Document) -> list[str]:
        """Return what each interval lacks that isn't narrow enough; all are if it is empty.

        Raises:
            UsageError: no sampler has the figure, so that more texts don't help.
        """
        look_up: Callable[..., Measurement | None] = difference if self.of_difference else estimate
        entries = [entry for entry in document.samplers if not entry.error]
        figures = {e.label: each for e in entries if (each := look_up(e, self.figure, GENERATED))}
        if entries and not figures:
            what = f"{self.figure}{DIFFERENCE if self.of_difference else ''}"
            raise UsageError(f"{printable.shown(self.text)} can't hold: no sampler has {what}")
        missed = []
        for name, each in figures.items():
            low, high = each.interval or [-math.inf, math.inf]
            if not high - low < self.width:
                wide = "has no interval" if each.low is None else f"has {high - low:.3g}"
                missed.append(f"{name} {wide}")
        return missed if entries else ["every sampler failed"]


def growing(plan: Plan) -> Iterator[Plan]:
    """Yield a plan for each stage; the last one is the whole plan.

    With 8 or more prompts, or clusters of prompts, the stages add these in random order; with
    fewer, they add texts of each prompt.

    Raises:
        UsageError: the prompts are from human texts.
    """
    if plan.continues_people:
        raise UsageError(
            "a report on human continuations cannot grow: leave out --until, or give prompts"
        )
    whole = replace(plan, anytime=True)
    places = list(dict.fromkeys(plan.clusters or plan.prompts))
    if len(places) < MANY:
        for n in _doubled(plan.n):
            yield replace(whole, n=n)
        return
    order = np.random.default_rng(plan.seeds[0]).permutation(len(places))
    for count in _doubled(len(places)):
        chosen = {places[at] for at in order[:count]}
        some = [i for i, each in enumerate(plan.clusters or plan.prompts) if each in chosen]
        prompts = tuple(plan.prompts[i] for i in some)
        clusters = tuple(plan.clusters[i] for i in some) if plan.clusters else ()
        yield replace(whole, prompts=prompts, clusters=clusters)


def _doubled(most: int) -> Iterator[int]:
    count = FIRST
    while count < most:
        yield count
        count *= 2
    yield most


def measured_until(plan: Plan, until: Until, run: RunUnits, progress: Progress) -> Document:
    """Measure a growing report until its condition holds, or until it is whole.

    Args:
        plan: the whole report.
        until: the condition.
        run: runs the units of work.
        progress: called with a stage, its finished units of work and its total.
    """
    for stage in growing(plan):
        document = ReportRun(stage, run, Journal(), progress).document()
        missed = until.misses(document)
        if not missed:
            break
    reached = f"not reached ({', '.join(missed)})" if missed else "reached"
    if not missed and any(entry.error for entry in document.samplers):
        reached += " by the samplers that were measured"
    document.header.until = f"{until.text}: {reached}"
    return document
