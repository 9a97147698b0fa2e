"""`corelm.compare`: measure samplers on one model, and return the report."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Unpack

from corelm.runs import NamedModel, scaling
from corelm_pages.report import Report, check_extra
from corelm_report.measure.journal import Journal, Progress
from corelm_report.measure.run import ReportRun
from corelm_report.measure.until import Until, measured_until
from corelm_report.plan.plan import plan
from corelm_report.settings import ReportSettings, with_settings

if TYPE_CHECKING:
    from corelm import Decoder, Sampler, StatelessModel


@with_settings
def compare(
    model: StatelessModel | str | os.PathLike[str],
    samplers: Iterable[str | Sampler | Decoder] | None = None,
    *,
    progress: Progress | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    until: str | None = None,
    **settings: Unpack[ReportSettings],
) -> Report:
    """Compare samplers on one model.

    Every sampler is measured twice: exactly, on the model's distributions at the same positions,
    and on texts of its own, which all samplers draw with the same random numbers. A sampler that
    fails has an entry with the reason.

    Args:
        model: the language model, or the name of one.
        samplers: samplers, registered names or expressions, which may sweep over parameters as in
            `temperature(t=0.1..2.0/20)` or `top_p(p=0.5,0.8,0.9)`. By default, a set that shows
            the range from greedy to uniform.
        prompts: the beginning of the texts, several beginnings, or a mapping from each to its
            cluster, such as its document: then the clusters are the independent units. By default
            each text has a beginning of its own: the first tokens of a human text, or else tokens
            drawn from the model. Human text is then at the same places.
        n: texts of each sampler for each prompt; without prompts, of all prompts together.
        length: tokens to draw for each text, at most; by default beginnings are part of it.
        seed: the random seed of all texts; by default 1.
        seeds: several seeds instead, such as `[1, 2, 3]` or "1..3". Every sampler writes its n
            texts for each of them, and `by_seed` has the figures of each.
        reference: human texts to compare with, or the path of a file or a folder of them. By
            default, the IMDB reviews that the model has not seen, provided that they were fetched
            and the model is one of IMDB reviews; otherwise the model's own texts are the contexts.
        prompts_from_reference: the number of tokens at the beginning of each human text that are a
            prompt, instead of `prompts`; human text is their continuations, so differences from it
            are paired by prompt. There are at most `contexts` prompts, and at least 8.
        contexts: texts on whose positions the samplers are compared, at most.
        match: a target such as "entropy=3", "mass_kept=0.9", "human_recall=0.95" or
            "surprisal=human", or several. A sampler that leaves one parameter open, such as
            `top_p`, gets the value at which the figure on the same contexts is this one, in an
            entry for each target. "human" is the surprisal of human words; if the contexts are not
            human text, it is scaled to these: model entropy here x (human surprisal / model entropy
            on human text).
        against: the sampler that every other one is compared with, one of `samplers`, or "human".
            By default human text if there is any, otherwise the first sampler. Texts at other
            places than human text are compared with it only if it is named here.
        metrics: metrics that plugins offer, to measure on the texts too: names, or names with
            parameters, such as `mattr(window=30)`.
        texts: the number of texts of each prompt that the report keeps, or "all".
        scorer: a second language model, or the name of one, under which the surprisal of the texts
            is measured too. Bits per byte compare models with different vocabularies.
        progress: called with a stage, its finished units of work and its total.
        workers: the number of workers of a Dask cluster to start on this machine. The report is the
            same. Workers load the models themselves, by the names that `corelm.load` was given.
        scheduler: the address of the scheduler of a Dask cluster. Without workers and scheduler,
            the work is done in this process.
        until: a condition such as "width(surprisal) < 0.1" or "width(surprisal.difference) < 0.1",
            at which the report stops growing. It begins with 32 texts of each prompt and seed,
            or with 32 prompts if there are 8 or more, and doubles them; `n` and `prompts` are the
            most. Its intervals stay valid however often one looks, and are wider for it.

    Raises:
        UsageError: the report cannot be made as asked, or the condition cannot be read.
        ExecutorError: workers that die, that cannot be reached, or that have other versions.
        UnknownNameError, AmbiguousNameError: no such sampler or metric, or several.
        DataError: the reference cannot be read.
        ModelOutputError: the model returned logits that no sampler can use.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> report = corelm.compare(
        ...     ToyModel(), ["greedy", "temperature(t=0.5)"], prompts="the", n=4, length=8
        ... )
        >>> [entry["sampler"] for entry in report.to_dict()["samplers"]]
        ['greedy', 'temperature(t=0.5)']
    """
    check_extra("a report")
    own, options = NamedModel.of(model), dict[str, Any](settings)
    scorer = options.pop("scorer", None)
    second = None if scorer is None else NamedModel.of(scorer)
    condition = None if until is None else Until.read(until)
    asked = plan(own.model, own.name, samplers, second, **options)
    with asked.opened(scaling.Executor.of(workers, scheduler)) as run:
        report_progress = progress or (lambda *_: None)
        if condition is not None:
            return Report.of_document(measured_until(asked, condition, run, report_progress))
        return Report.of_document(ReportRun(asked, run, Journal(), report_progress).document())
