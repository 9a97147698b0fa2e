"""`corelm study plan`: the cheapest design of a study, in prompts and texts of each prompt.

More texts of the same prompts say more about these prompts, and little more about others. So a
design follows from two variances of a paired difference, between prompts and within them, which a
pilot measures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from corelm.commands import ExitCode, Output, blocks, messages
from corelm.errors import UsageError
from corelm.runs import NamedModel, printable, scaling
from corelm_report.document.content import Document
from corelm_report.document.figures import HUMAN
from corelm_report.document.lookup import OF_SETS, against
from corelm_stats.estimates import FEWEST, MANY
from corelm_stats.study_design import (
    LARGEST_DESIGN,
    Goal,
    Pilot,
    StudyDesign,
    VarianceParts,
    cheapest,
    texts_needed,
)
from corelm_study.study_file import Study
from corelm_study.study_reports import planned
from corelm_study.unit_cache import UnitCache


def pilot_of(study: Study, n: int) -> Study:
    """Return a study with `n` texts of each prompt, none of which the study itself has.

    It has as many seeds, all of which are new.
    """
    seeds = study.report["seeds"]
    beyond = max(seeds) - min(seeds) + 1
    report = {**study.report, "n": n, "seeds": tuple(seed + beyond for seed in seeds)}
    return replace(study, report=report, until=None)


def plan_study(
    study: Study, figure: str, goal: Goal, executor: scaling.Executor, out: Output
) -> int:
    """Run a study as a pilot, and write the designs that reach a goal."""
    with UnitCache() as cache:
        for each in planned(study):
            with messages.stages("units") as bar:
                document = each.document(cache, executor, bar)
            pilots = pilots_of(document, figure)
            seeds = len(document.header.seeds)
            out.show(blocks.line(NamedModel.label(each.model), "bold"))
            out.rows(
                ("sampler", "sd between prompts", "sd within", "cheapest"),
                [
                    (p.sampler, _deviation(p.parts.between), _deviation(p.parts.within),
                     str(cheapest([p], goal) or f"> {LARGEST_DESIGN:,}"))
                    for p in pilots
                ],
            )  # fmt: skip
            header = document.header
            clustered = bool(header.clusters)
            # A cluster has several prompts, each with samples of each seed.
            texts = seeds * len(header.prompts) / pilots[0].prompts if clustered else seeds
            for sentence in advice(pilots, goal, figure, against(document), texts, clustered):
                out.show(blocks.line(sentence))
    return ExitCode.DONE


def _deviation(variance: float | None) -> str:
    return "unknown" if variance is None else f"{math.sqrt(variance):.3g}"


def advice(
    pilots: Sequence[Pilot],
    goal: Goal,
    figure: str,
    other: str,
    seeds: float,
    clustered: bool = False,
) -> Iterator[str]:
    """Yield advice on what to write, in the terms of a study file.

    Args:
        pilots: the variances of each sampler.
        goal: the power or width to reach.
        figure: the figure.
        other: the sampler compared with.
        seeds: the texts of a prompt, or of a cluster, for each text that a study's `n` counts.
        clustered: True if the prompts belong to clusters.
    """
    places = "clusters" if clustered else "prompts"
    aim = f"To find a difference of {goal.size:g} in {figure} from {other}"
    aim += f" with a probability of {goal.power:.0%}" if goal.power else ""
    if goal.power is None:
        aim = f"For an interval of the difference in {figure} from {other} of {2 * goal.size:g}"
    prompts = pilots[0].prompts
    here, best = texts_needed(pilots, goal, prompts), cheapest(pilots, goal)
    if best is None:
        wanted = places if pilots[0].about_prompts else "texts of each prompt"
        yield f"{aim}, more than {LARGEST_DESIGN:,} {wanted} would be needed."
    elif pilots[0].about_prompts:
        each = best.texts if clustered else _texts(best, seeds)
        yield (
            f"{aim}, the cheapest design is {best.prompts:,} {places} x {each:,} "
            f"{'text' if each == 1 else 'texts'} of each: {best.cost:,} texts of each sampler."
        )
        if here is None:
            endless = StudyDesign(prompts, LARGEST_DESIGN**3)
            yield f"With the {prompts} {places} of the pilot " + (
                f"more than {LARGEST_DESIGN:,} texts of each would be needed."
                if all(each.reaches(goal, endless) for each in pilots)
                else "no number of texts is enough: they differ too much from each other."
            )
        else:
            yield (
                f"With the {prompts} {places} of the pilot, n = {_texts(here, seeds):,}: "
                f"{here.cost:,} texts of each sampler."
            )
    else:
        yield (
            f"{aim}, for {'this prompt' if prompts == 1 else 'these prompts'} alone, write n = "
            f"{_texts(best, seeds):,}: {best.cost:,} texts of each sampler. For prompts like "
            f"{'it' if prompts == 1 else 'these'}, plan with {MANY} prompts or more."
        )
    if best is not None and all(each.units > 1 for each in pilots):
        yield from _uncertainty(pilots, goal, best, places)


def _uncertainty(
    pilots: Sequence[Pilot], goal: Goal, best: StudyDesign, places: str
) -> Iterator[str]:
    """Yield how far the design and its power may be off, as a pilot's variances are uncertain."""
    about_prompts = pilots[0].about_prompts
    units = min(each.units for each in pilots)
    places = places if about_prompts else "texts"
    pilot = f"The pilot's {units:,} {places}{'' if about_prompts else ' of each prompt'}"
    bounds = [each.bounds() for each in pilots]
    costs = []
    for some in zip(*bounds, strict=True):
        design = cheapest(some, goal)
        costs.append(f"{design.cost:,}" if design else f"more than {LARGEST_DESIGN:,}")
    needed = f"it may take {costs[0]} to {costs[1]} texts of each sampler"
    pilot += " leave that uncertain: if differences are normal,"
    unlike = f"The more unlike the {places}, the less certain it is."
    if goal.power is None:
        yield f"{pilot} {needed} (at 95%). {unlike}"
        return
    high, low = (
        min(goal.power_of(*each.of_design(best)) for each in some)
        for some in zip(*bounds, strict=True)
    )
    yield (
        f"{pilot} this design has between {low:.0%} and {high:.0%} power, and {needed} (at 95%). "
        f"{unlike}"
    )


def _texts(design: StudyDesign, seeds: float) -> int:
    return math.ceil(design.texts / seeds)


def pilots_of(document: Document, figure: str) -> list[Pilot]:
    """Return the variances of each sampler in a pilot.

    Raises:
        UsageError: the pilot has no paired differences of this figure, or too few differ.
    """
    if against(document) == HUMAN:
        raise UsageError(
            "the size is planned for differences between samplers, whose texts are pairs: name one "
            'of them, such as against = "temperature(t=1.0)"'
        )
    if figure in OF_SETS:
        raise UsageError(
            f"{figure} is a figure of a whole set of texts, and sizes are planned for means over "
            "texts: choose one of these, such as surprisal"
        )
    # Where prompts have clusters, these are what the variances are between.
    places = len({*(document.header.clusters or document.header.prompts)})
    differences = {
        e.sampler: e.differences.generated_texts for e in document.samplers if e.differences
    }
    pilots = [
        Pilot(name, VarianceParts(each.between, each.within), places, each.units or 0)
        for name, own in differences.items()
        if (each := own.get(figure)) and each.within is not None
    ]
    if not pilots:
        named = {
            n for own in differences.values() for n, each in own.items() if each.within is not None
        }
        hint = (
            printable.did_you_mean(figure, named)
            or f"; there are: {', '.join(sorted(named)) or 'none'}"
        )
        raise UsageError(f"the pilot has no paired differences of {printable.shown(figure)}{hint}")
    for pilot in pilots:
        none = not (pilot.parts.between or pilot.parts.within)
        # Without an interval, fewer differ from the majority than a variance needs.
        if none or differences[pilot.sampler][figure].ci95 is None:
            kind = "clusters" if document.header.clusters else "prompts"
            kind = kind if pilot.about_prompts else "texts of each prompt"
            raise UsageError(
                f"the pilot's texts of {pilot.sampler} differ in {figure} in "
                f"{0 if none else f'fewer than {FEWEST}'} of {pilot.units:,} {kind}: too few to "
                "plan from"
            )
    return pilots
