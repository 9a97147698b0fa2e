"""The reports of a study: measure what the cache lacks, write, and read them.

A lock file records what produced them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path

from corelm import load
from corelm.errors import ModelFileError, ReportError
from corelm.runs import NamedModel, SafeFile, machine, printable, scaling
from corelm_pages.report import FORMS, Report, write_plots
from corelm_report.document.content import Document
from corelm_report.document.parts import Json
from corelm_report.measure.journal import Journal, Progress
from corelm_report.measure.run import ReportRun
from corelm_report.measure.until import Until, measured_until
from corelm_report.plan.plan import OWN, Plan, plan
from corelm_study import registration
from corelm_study.registration import LARGEST, LOCK
from corelm_study.study_file import Study
from corelm_study.unit_cache import CachedRun, UnitCache, digest


@dataclass(frozen=True)
class PlannedReport:
    """The report of a study on one of its models.

    Attributes:
        study: the study.
        model: the name of the model in the study.
        plan: what to measure.
        scorer: the name of the second scorer; None without one.
    """

    study: Study
    model: str
    plan: Plan
    scorer: str | None = None

    @property
    def name(self) -> str:
        """The name of the report: the model's, with the scorer's if the study has several."""
        own = NamedModel.label(self.model)
        several = len(self.study.scorer) > 1 and self.scorer is not None
        return f"{own} scored by {NamedModel.label(self.scorer or '')}" if several else own

    def document(
        self, cache: UnitCache, executor: scaling.Executor, progress: Progress
    ) -> Document:
        """Return the document of the report, from the cache if nothing has changed."""
        key = digest(["report", self.settings()])
        stored = cache.get(key)
        if stored is not None:
            return Document.from_dict(json.loads(stored))
        before, cache.oldest = cache.oldest, math.inf
        plan, study = self.plan, self.study
        with plan.opened(executor) as run:
            cached = CachedRun(run, cache, self._scopes())
            # The cache replaces the journal, as it stores each unit at once.
            if study.until is None:
                made = ReportRun(plan, cached, Journal(), progress).document()
            else:
                made = measured_until(plan, Until.read(study.until), cached, progress)
        made.header.command = f"corelm study run {study.file.name}"
        if all(entry.error is None for entry in made.samplers):
            cache.put(key, json.dumps(made.to_dict()), cache.oldest)
        cache.oldest = min(before, cache.oldest)
        return made

    def settings(self) -> Json:
        """Return everything that the report depends on."""
        named = {"device": self.study.device, "dtype": self.study.dtype, "texts": self.plan.texts}
        named |= {"until": self.study.until}
        return {**self.plan.as_json(), **here(), **named, "file": self.study.file.name}

    def _scopes(self) -> list[str]:
        """Return for each model a digest of its identity, of the code and of how it is loaded."""
        study, scopes = self.study, []
        for name, model in zip([self.model, self.scorer], self.plan.models, strict=False):
            identity = NamedModel(model, name or "").fingerprint()
            code = scaling.Dependencies([model], OWN).code
            scopes.append(digest([here(), identity, code, study.device, study.dtype]))
        return scopes


def here() -> Json:
    """Return the versions and the machine's facts that decide the bits of a result."""
    return {
        "corelm": version("corelm"),
        "numpy": version("numpy"),
        **machine.facts(same_bits=True),
    }


def planned(study: Study) -> Iterator[PlannedReport]:
    """Load the models of a study, one after the other, and yield the report on each.

    Raises:
        UsageError: a report that cannot be made as asked.
        UnknownNameError, AmbiguousNameError: no such model, sampler or metric, or several.
        DataError: the reference cannot be read.
    """
    scorers = {name: NamedModel.of(name) for name in study.scorer}
    for name, scorer in product(study.models, study.scorer or (None,)):
        model = load(name, device=study.device, dtype=study.dtype)
        second = scorers.get(scorer or "")
        asked = plan(model, NamedModel.label(name), study.samplers, second, **study.report)
        yield PlannedReport(study, name, asked, scorer)


SCHEMA = "corelm.study/2"
REPEAT = "repeat.md"
DIGITS = 12
"""Of the digest of a human text."""


@dataclass(frozen=True)
class StudyResult:
    """The reports of a study, and the lock with their provenance.

    Attributes:
        folder: the folder of the results.
        lock: the settings, versions and digests.
    """

    folder: Path
    lock: Json

    @classmethod
    def read(cls, place: Path) -> StudyResult:
        """Read the results in a folder.

        Raises:
            ReportError: there are none.
        """
        file = place / LOCK if place.is_dir() else place
        try:
            lock = SafeFile(file).json(LARGEST)
        except ModelFileError as error:
            raise ReportError(f"{str(place)!r} has no results of a study: {error}") from error
        if lock.get("schema") != SCHEMA:
            raise ReportError(
                f"{str(file)!r} is not the {LOCK} of this version of corelm, {SCHEMA}; run the "
                "study again"
            )
        try:
            registration.changes(lock, lock)
            # Raises for a part that is missing, or isn't text.
            "".join(each[key] for each in lock["models"] for key in ("name", "folder", "report"))
        except (KeyError, TypeError, AttributeError):
            raise ReportError(f"{str(file)!r} is damaged; run the study again") from None
        return cls(file.parent, lock)

    def reports(self) -> Iterator[tuple[str, Report]]:
        """Yield the name of each model with its report.

        Raises:
            ReportError: a report that is missing, damaged or changed.
        """
        for model in self.lock["models"]:
            path = self.folder / model["folder"] / FORMS["json"][0]
            report = Report.read(path)
            if hashlib.sha256(report.to_json().encode()).hexdigest() != model["report"]:
                raise ReportError(
                    f"{str(path)!r} was changed after the study wrote it (by {LOCK}); "
                    "run the study again"
                )
            yield model["name"], report

    @property
    def registration(self) -> str:
        """The registration of the results, in a sentence; empty if nothing was registered."""
        registered = self.lock.get("registered")
        return registration.sentence(registered) if registered else ""


def folder_of(model: str) -> str:
    """Return the name of a model's folder.

    Example:
        >>> folder_of("corelm:imdb"), folder_of("transformers:Qwen/Qwen3-0.6B")
        ('imdb', 'transformers-Qwen-Qwen3-0.6B')
    """
    return re.sub(r"[^\w.]+", "-", NamedModel.label(model)).strip("-.") or "model"


def write_report(study: Study, model: str, report: Report) -> Path:
    """Write the forms and the pictures of a report; return its folder."""
    folder = study.folder / folder_of(model)
    folder.mkdir(parents=True, exist_ok=True)
    for form in dict.fromkeys(("json", *study.forms)):  # results are read back from the JSON
        name, made = FORMS[form]
        SafeFile(folder / name).write(made(report).encode("utf-8", "replace"))
    if study.plots:
        write_plots(report, folder, study.plots)
    return folder


def made_of(study: Study, planned: Sequence[PlannedReport]) -> Json:
    """Return everything that decides the results of a study."""
    plans, facts = [each.plan for each in planned], machine.facts()
    return {
        "schema": SCHEMA,
        "title": study.title,
        "settings": study.settings(),
        "versions": {**here(), "python": facts["python"], "processor": facts["processor"]},
        "plugins": _merged(plan.plugins() for plan in plans),
        "code": _merged(plan.code() for plan in plans),
        "weights": _merged(plan.weights() for plan in plans),
        "secrets": _merged(plan.secrets() for plan in plans),
        "models": [
            {
                "name": each.name,
                "sha256": each.plan.sha256,
                # Of the texts that a report reads, as files may change.
                "digests": {
                    registration.TEXTS: human and [digest(text)[:DIGITS] for text in human.texts],
                    "prompts": digest(each.plan.cluster_of or list(each.plan.prompts)),
                },
            }
            for each, human in zip(planned, [plan.human for plan in plans], strict=True)
        ],
    }


def write_lock(
    study: Study, reports: list[tuple[PlannedReport, Report]], cache: UnitCache
) -> StudyResult:
    """Write the provenance of the reports, and how to repeat them."""
    lock = made_of(study, [planned for planned, _ in reports])
    for entry, (planned, report) in zip(lock["models"], reports, strict=True):
        entry["folder"] = folder_of(planned.name)
        entry["report"] = hashlib.sha256(report.to_json().encode()).hexdigest()
    lock["registered"] = registration.compared(study.folder, lock, cache)
    SafeFile(study.folder / LOCK).write_json(lock)
    SafeFile(study.folder / "study.toml").write(SafeFile(study.file).read(LARGEST))
    SafeFile(study.folder / REPEAT).write(_repeat(study, lock).encode())
    return StudyResult(study.folder, lock)


def _merged(of_reports: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Merge the values of all reports by name, sorted."""
    return dict(sorted(item for each in of_reports for item in each.items()))


def _repeat(study: Study, lock: Json) -> str:
    plugins = {"corelm": lock["versions"]["corelm"], **lock["plugins"]}
    packages = " ".join(f"{name}=={each}" for name, each in plugins.items())
    models = [
        f"- {printable.one_line(m['name'])}: sha256 {m['sha256'] or 'unknown'}"
        for m in lock["models"]
    ]
    data = [
        f"- {name} of {printable.one_line(m['name'])}: {digest(each)}"
        for m in lock["models"]
        for name, each in m["digests"].items()
        if each
    ]
    versions = [f"- {name}: {each}" for name, each in lock["versions"].items()]
    code = [f"- {name}: {each}" for name, each in lock["code"].items()]
    return "\n".join(
        [
            f"# How to repeat: {printable.one_line(study.title)}", "",
            "```", f"pip install {packages} numpy=={lock['versions']['numpy']}",
            f"corelm study run {printable.one_line(shlex.quote(study.file.name))}", "```", "",
            "On the same platform, with the same versions, the figures are the same to the last "
            "bit. `corelm study diff` compares two results.", "",
            "Models:", "", *models, "", "Digests of the data:", "", *data, "",
            "Versions:", "", *versions, "", "Digests of the code:", "", *code, "",
        ]
    )  # fmt: skip
