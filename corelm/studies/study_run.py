"""The run of a study: a report on each model, measured where the cache has nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from corelm import LanguageModel, load
from corelm.reports.document.parts import Json
from corelm.reports.measure.journal import Journal
from corelm.reports.measure.run import ReportRun
from corelm.reports.measure.units import Progress
from corelm.reports.plan.plan import NamedModel, Plan, plan
from corelm.scaling.choice import ExecutorChoice
from corelm.scaling.code_digests import code_of
from corelm.studies.contents import digest
from corelm.studies.study_file import Study
from corelm.studies.unit_cache import CachingExecutor, UnitCache
from corelm.toolkit import label, machine, plugin_of

SAME_BITS = ("platform", "kernels", "vector_width")
"""The facts about a machine that decide the last bits of a result."""


@dataclass(frozen=True)
class PlannedReport:
    """The report of a study on one of its models.

    Attributes:
        study: the study.
        model: the name of the model, as the study has it.
        plan: what to measure.
    """

    study: Study
    model: str
    plan: Plan

    def document(self, cache: UnitCache, executor: ExecutorChoice, progress: Progress) -> Json:
        """Return the document of the report, from the cache if nothing has changed."""
        key = digest(["report", self.settings()])
        stored = cache.get(key)
        if stored is not None:
            found: Json = json.loads(stored)
            return found
        made = self._measured(cache, executor, progress)
        if all(entry["error"] is None for entry in made["samplers"]):
            cache.put(key, json.dumps(made))
        return made

    def _measured(self, cache: UnitCache, choice: ExecutorChoice, progress: Progress) -> Json:
        plan, study = self.plan, self.study
        executor = choice.opened(
            plan.models, lambda: plan.jobs(self.model, study.scorer, study.device, study.dtype)
        )
        with executor as workers:
            cached = CachingExecutor(workers, cache, self._scopes())
            # The cache stands in for the journal: it keeps each unit at once.
            document = ReportRun(plan, cached, Journal(), progress).document()
        document.header.command = f"corelm study run {study.file.name}"
        return document.to_dict()

    def settings(self) -> Json:
        """Return everything that the report depends on."""
        named = {"device": self.study.device, "dtype": self.study.dtype, "texts": self.plan.texts}
        return {**self.plan.as_json(), **here(), **named, "file": self.study.file.name}

    def _scopes(self) -> list[str]:
        names = [self.model, self.study.scorer]
        loading = [self.study.device, self.study.dtype]
        return [
            digest([here(), *_identified(name, model, self.plan.prompts[0]), *loading])
            for name, model in zip(names, self.plan.models, strict=False)
        ]


def here() -> Json:
    """Return the versions and the facts about this machine that decide the bits of a result."""
    facts = machine()
    return {
        "corelm": version("corelm"),
        "numpy": version("numpy"),
        **{name: facts[name] for name in SAME_BITS},
    }


def _identified(name: str | None, model: LanguageModel, prompt: str) -> list[Any]:
    """Return the identity of a model, and the digests of corelm's code and of the model's."""
    plugin = plugin_of(name) if name else None
    code = code_of([model], [plugin.value] if plugin else ())
    return [NamedModel(model, name or "").fingerprint(prompt), code]


def planned(study: Study) -> Iterator[PlannedReport]:
    """Load the models of a study, one after the other, and yield the report on each.

    Raises:
        UsageError: a report that cannot be made as asked.
        UnknownNameError, AmbiguousNameError: no such model, sampler or metric, or several.
        DataError: the reference cannot be read.
    """
    scorer = None
    if study.scorer is not None:
        scorer = NamedModel(load(study.scorer), label(study.scorer))
    for name in study.models:
        model = load(name, device=study.device, dtype=study.dtype)
        asked = plan(
            model, label(name), study.samplers, prompts=study.prompts, n=study.samples,
            length=study.length, seeds=study.seeds, reference=study.reference,
            contexts=study.contexts, match=study.match, against=study.against,
            metrics=study.metrics, texts=study.texts, scorer=scorer,
            prompts_from_reference=study.prompts_from_reference,
        )  # fmt: skip
        yield PlannedReport(study, name, asked)
