"""The file of a study, in TOML, and files of prompts.

Every key is checked before anything is measured.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from corelm.errors import ModelFileError, UsageError
from corelm.runs import NamedModel, SafeFile, printable, text_lines
from corelm_report.plan.texts import SUFFIXES
from corelm_report.settings import DEFAULTS, SEED, SETTINGS, Prompts, ReportSetting

LARGEST = 2**20
"""The largest study file, in bytes."""
FORMS = ("json", "html", "csv", "markdown", "latex", "bibtex", "p_values")
PLOTS = ("pdf", "png", "svg")
UNTIL_AND_TESTS = (
    "a study that stops by a condition has no permutation tests, which need a number of texts that "
    "was fixed beforehand: leave out until, or p_values in write.forms"
)


@dataclass(frozen=True, kw_only=True)
class Study:
    """The measurements of a study, and the files that it writes.

    Attributes:
        file: the file that it was read from.
        title: its title; by default the name of the file.
        models: the names or paths of the models.
        samplers: the samplers, sweeps and decoders, as expressions.
        scorer: the second scorers; each model has a report with each of them.
        report: the other settings of its reports, by name.
        device, dtype: how the models are loaded.
        fail_if: the conditions under which the study fails.
        until: the condition at which each report stops growing.
        folder: the folder of its results.
        forms: the forms of each report.
        plots: the formats of its pictures.
    """

    file: Path
    title: str
    models: tuple[str, ...] = (NamedModel.label(NamedModel.DEFAULT),)
    samplers: tuple[str, ...] = ()
    scorer: tuple[str, ...] = ()
    report: Mapping[str, Any] = field(default_factory=dict)
    device: str | None = None
    dtype: str | None = None
    fail_if: tuple[str, ...] = ()
    until: str | None = None
    folder: Path
    forms: tuple[str, ...] = FORMS[:-1]
    plots: tuple[str, ...] = PLOTS[:1]

    def settings(self) -> dict[str, Any]:
        """Return all settings except paths of this machine, as JSON values."""
        named = {each.name: getattr(self, each.name) for each in fields(self)}
        del named["file"], named["folder"], named["report"]
        own = {name: self.report[name] for name in KEYS}
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in (named | own).items()}
        place = self.report["reference"]
        return plain | {"reference": place and place.name, "scorer": list(self.scorer)}


def read_study(path: Path) -> Study:
    """Read a study.

    Raises:
        UsageError: a file that cannot be read, or an invalid key or value; the message has the
            line.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "small.toml"
        ...     _ = file.write_text('samplers = ["greedy", "top_p(p=0.5,0.9)"]')
        ...     study = read_study(file)
        >>> study.title, study.models, study.samplers
        ('small', ('imdb',), ('greedy', 'top_p(p=0.5,0.9)'))
    """
    try:
        text = SafeFile(path).text(LARGEST)
        content = tomllib.loads(text)
    except (ModelFileError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read the study {str(path)!r}: {error}") from error
    checked = _checked(content, _StudyText(path, text))
    written = checked.pop("write", {})
    decoders = checked.pop("decoders", ())
    samplers = (*checked.pop("samplers", ()), *decoders)
    if not samplers:
        raise UsageError(f'{path}: a study needs samplers, such as samplers = ["top_p(p=0.9)"]')
    folder = path.parent / written.pop("folder", path.stem)
    report = {name: checked.pop(name, DEFAULTS[name]) for name in KEYS}
    report["seeds"] = report["seeds"] or (SEED,)
    if "p_values" in written.get("forms", ()):
        if "until" in checked:
            raise UsageError(f"{path}: {UNTIL_AND_TESTS}")
        report["texts"] = "all"  # the tests need every text
    values = {"title": path.stem, "samplers": samplers, "folder": folder, **checked, **written}
    return Study(file=path, report=report, **values)


class _StudyText:
    """The text of a study, to find the line of a key."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self._lines = text.splitlines()

    def of(self, key: str) -> str:
        """Return the file and, if it is found, the line of a key."""
        written = re.compile(rf"\s*\[?\s*[\"']?{re.escape(key)}[\"']?\s*(=|\]|\.)")
        numbers = [number for number, line in enumerate(self._lines, 1) if written.match(line)]
        return f"{self.path}, line {numbers[0]}" if numbers else str(self.path)


Reader = Callable[[Any, _StudyText], Any]
"""A function that returns the value of a key, or raises a `ValueError` with the rule."""


def _checked(content: Mapping[str, Any], place: _StudyText, table: str = "") -> dict[str, Any]:
    readers = TABLES[table]
    values = {}
    for key, value in content.items():
        name = f"{table}.{key}" if table else key
        if key not in readers:
            hint = printable.did_you_mean(key, readers) or f"; the keys are: {', '.join(readers)}"
            raise UsageError(f"{place.of(key)}: a study has no key {name!r}{hint}")
        try:
            values[key] = readers[key](value, place)
        except ValueError as error:
            raise UsageError(
                f"{place.of(key)}: {name} must be {error}, not {printable.shown(value)}"
            ) from None
    return values


def _text(value: Any, place: _StudyText) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text in quotation marks")
    return value


def _texts(value: Any, place: _StudyText) -> tuple[str, ...]:
    several = [value] if isinstance(value, str) else value
    if not isinstance(several, list) or not several:
        raise ValueError("a list of texts")
    return tuple(_text(each, place) for each in several)


def _count(value: Any, place: _StudyText) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("a whole number, at least 1")
    return value


def _seeds(value: Any, place: _StudyText) -> tuple[int, ...] | str:
    if isinstance(value, str):
        return value
    several = value if isinstance(value, list) else [value]
    if not several or not all(type(each) is int and each >= 0 for each in several):
        raise ValueError('a list of whole numbers, or a text such as "1..5"')
    return tuple(several)


def _text_count(value: Any, place: _StudyText) -> int | str:
    if value != "all" and (type(value) is not int or value < 0):
        raise ValueError('a whole number or "all"')
    return int(value) if value != "all" else "all"


def _prompts(value: Any, place: _StudyText) -> Prompts:
    """Return the prompts of a list, or of a file next to the study."""
    if isinstance(value, list):
        return _texts(value, place)
    file = place.path.parent / _text(value, place)
    try:
        text = SafeFile(file).text(LARGEST)
        prompts = parse_prompts(text, file.name)
    except (ModelFileError, UsageError) as error:
        raise ValueError(f"a list of texts or a file ({error})") from None
    return prompts if isinstance(prompts, Mapping) else tuple(prompts)


def _flag(value: Any, place: _StudyText) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _path(value: Any, place: _StudyText) -> Path:
    path = place.path.parent / _text(value, place)
    with suppress(OSError):  # the system refuses a name that is too long
        if path.exists():
            return path
    raise ValueError("a file or folder that is there")


def _until(value: Any, place: _StudyText) -> str:
    # Late, as it brings all that measures.
    from corelm_report.measure.until import Until

    try:
        return Until.read(_text(value, place)).text
    except UsageError as error:
        raise ValueError(f"a condition ({error})") from None


def _among(choices: tuple[str, ...]) -> Reader:
    def read(value: Any, place: _StudyText) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(each in choices for each in value):
            raise ValueError(f"a list of some of: {', '.join(choices)}")
        return tuple(value)

    return read


def _write(value: Any, place: _StudyText) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("a table: [write]")
    return _checked(value, place, "write")


READERS: Mapping[str, Reader] = {
    "count": _count, "seeds": _seeds, "kept": _text_count, "text": _text, "texts": _texts,
    "path": _path, "prompts": _prompts, "flag": _flag,
}  # fmt: skip
"""The reader of each kind of setting; a study has no single seed, and loads its models itself."""
KEYS: Mapping[str, ReportSetting] = {
    n: each for n, each in SETTINGS.items() if each.kind in READERS
}
"""The settings of a report that a study may set."""
TABLES: Mapping[str, Mapping[str, Reader]] = {
    "": {
        "title": _text, "models": _texts, "samplers": _texts, "decoders": _texts,
        **{name: READERS[each.kind] for name, each in KEYS.items()},
        "scorer": _texts, "device": _text, "dtype": _text, "fail_if": _texts, "until": _until,
        "write": _write,
    },
    "write": {"folder": _text, "forms": _among(FORMS), "plots": _among(PLOTS)},
}  # fmt: skip
"""The keys of each table, with their readers."""


def parse_prompts(text: str, name: str) -> Prompts:
    """Return the prompts in a file; in one of JSON lines each may name its cluster.

    Prompts of one cluster, such as the paragraphs of a document, have something in common, so the
    clusters are the independent units.

    Args:
        text: the content of the file.
        name: its name, whose suffix decides the format.

    Raises:
        UsageError: there is no prompt, or an invalid line; the message has its number.

    Example:
        >>> parse_prompts('{"prompt": "a", "cluster": "one"}', "p.jsonl"), parse_prompts("a", "p")
        ({'a': 'one'}, ['a'])
    """
    if name.endswith(SUFFIXES):
        return _clustered(text_lines(text, name, "prompt", "cluster"), name)
    prompts = [line for line in text.splitlines() if line.strip()]
    if not prompts:
        raise UsageError(f"there is no prompt in {name}")
    return prompts


def _clustered(pairs: Iterable[tuple[str, str | int | None]], name: str) -> Prompts:
    """Return the prompts, as a mapping to their clusters if they have clusters.

    Raises:
        UsageError: only some have a cluster, or a prompt has two.
    """
    cluster_of: dict[str, str | None] = {}
    listed = list(pairs)
    for prompt, value in listed:
        cluster = None if value is None else str(value)
        if cluster_of.setdefault(prompt, cluster) != cluster:
            raise UsageError(f"{name}: the prompt {printable.shown(prompt)} has two clusters")
    clusters = {prompt: each for prompt, each in cluster_of.items() if each is not None}
    if clusters and len(clusters) < len(cluster_of):
        missing = next(prompt for prompt in cluster_of if prompt not in clusters)
        raise UsageError(
            f"{name}: the prompt {printable.shown(missing)} has no cluster, and others have one"
        )
    return clusters or [prompt for prompt, _ in listed]
