"""corelm names each mistake of `mistakes.toml`: when it is installed, called or checked."""

from __future__ import annotations

import io
import json
import re
import textwrap
import threading
import tomllib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import corelm
from corelm.cli import plugin_checks
from corelm.cli.app import main
from corelm.runs import plugins
from corelm.testing import ToyModel, decoder_laws

KINDS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("mistakes.toml").read_text("utf-8"))

ENDLESS = "did not end within"

HEAD = """
import dataclasses, os, random, time
from threading import Thread
import numpy as np
import corelm
from corelm import hookimpl, param
from corelm.testing import ToyModel

class Words:
    words = ["a", "b", "c"]
    def __len__(self): return 3
    def encode(self, text): return [self.words.index(word) for word in text.split()]
    def decode(self, ids): return " ".join(self.words[i] for i in ids)

class Three:
    context_length = 20
    vocabulary = Words()
    def next_token_distribution(self, tokens): return np.tile([0.5, 0.3, 0.2], (len(tokens), 1))

class PlainSession:
    def __init__(self, model, tokens):
        self.after, self.tokens = model._after, np.pad(tokens, ((0, 0), (1, 0)))
    def next_logits(self): return self.after[self.tokens[:, -1]].copy()
    def select(self, rows): self.tokens = self.tokens[np.asarray(rows)]
    def extend(self, tokens):
        more = np.asarray(tokens).reshape(len(self.tokens), -1)
        self.tokens = np.concatenate([self.tokens, more], axis=1)
"""


class Mistake:
    """A row of the table, as a package of its own."""

    def __init__(self, number: int, kind: str, row: dict[str, Any]) -> None:
        self.kind, self.row, self.about = kind, row, KINDS[kind] | row
        self.name = f"corelm-m{number:03}"
        self.module = self.name.replace("-", "_")

    def __repr__(self) -> str:
        return f"{self.kind}: {self.row['mistake']}"

    def install(self, site: Path) -> None:
        """Write the module, and the metadata of its package."""
        (site / f"{self.module}.py").write_text(self.code())
        info = site / f"{self.module}-1.0.dist-info"
        info.mkdir()
        needs = f"Requires-Dist: {self.row['requires']}\n" if "requires" in self.row else ""
        lines = f"Metadata-Version: 2.1\nName: {self.name}\nVersion: 1.0\n{needs}"
        (info / "METADATA").write_text(lines)
        point = self.about.get("points", "x").replace("MODULE", self.module)
        point = point if "=" in point else f"{point} = {self.module}"
        (info / "entry_points.txt").write_text(f"[{self.about.get('group', 'corelm')}]\n{point}\n")

    def code(self) -> str:
        """Return the module: the template of the kind, with the author's lines in their place."""
        [(line, indent)] = re.findall(r"^(( *)CODE)$", self.about["template"], re.M)
        own = textwrap.indent(self.row.get("code", ""), indent).rstrip()
        text: str = HEAD + self.about["template"].replace(line, own)
        if hook := self.about.get("hook"):
            text += f"\n@hookimpl\ndef corelm_{hook}(): return {{'x': X}}\n"
        return text

    def use(self) -> str:
        """Return the message of a text, a report or a command that needs the plugin."""
        full = f"{self.name}:x"
        try:
            if self.kind == "command":
                main([full, *self.row.get("arguments", ())])
                return ""
            if self.kind.endswith("_metric"):
                return str(compared(full).failed)
            written(full, self.kind, self.about.get("hook"))
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""


class Checked(NamedTuple):
    """The output of `corelm plugins --check`: failures by package, and warnings."""

    failures: dict[str, str]
    warnings: str

    def of(self, mistake: Mistake) -> str:
        """Return the warnings about a package."""
        named = rf"^.*(?:{mistake.name}:|{mistake.module}\b).*"
        return "\n".join(re.findall(named, self.warnings, re.M))


def written(full: str, kind: str, hook: str | None) -> None:
    """Write some texts with the model, the decoder or the sampler of a plugin."""
    options: Any = {"sampler": full, "length": 4, "seed": 1}
    if kind == "decoder":
        options |= {"sampler": "stochastic", "decoder": plugins.registry().decoder(full)()}
    if kind == "session":
        corelm.generate(corelm.load(full), "the", n=3, **options | {"sampler": "stochastic"})
    elif kind == "loader" or hook == "models":
        corelm.generate(corelm.load(full), "a b", **options | {"sampler": "stochastic"})
    else:
        corelm.generate(ToyModel(), "the", n=3, **options)


def compared(metric: str) -> Any:
    """Return a report with a figure."""
    human = ["the cat sat on the mat", "the dog ran"] * 4
    options: Any = {"prompts": "the", "n": 4, "length": 5, "seed": 1, "reference": human}
    return corelm.compare(ToyModel(), ["stochastic"], metrics=[metric], **options)


MISTAKES = [
    Mistake(number, kind, row)
    for number, (kind, row) in enumerate(
        (kind, row) for kind, about in KINDS.items() for row in about["mistakes"]
    )
]


def test_the_table_has_two_hundred_mistakes() -> None:
    assert len(set(map(repr, MISTAKES))) == len(MISTAKES) > 200


@pytest.fixture
def checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Checked]]:
    """A function that installs some mistakes, and returns what `--check` says."""

    def check(mistakes: list[Mistake], *options: str) -> Checked:
        for mistake in mistakes:
            mistake.install(tmp_path)
        monkeypatch.setenv("CORELM_PLUGINS", ",".join(mistake.name for mistake in mistakes))
        plugins.registry.cache_clear()
        assert main(["plugins", "--check", "--json", *options]) == 1
        out, err = capsys.readouterr()
        failures = {each["distribution"]: str(each["failure"]) for each in json.loads(out)}
        return Checked(failures, err)

    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of NumPy, and coroutines that nobody awaits
        yield check
    plugins.registry.cache_clear()


@pytest.mark.slow
@pytest.mark.packages
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_mistake_is_silent(
    checked: Callable[..., Checked], capsys: pytest.CaptureFixture[str]
) -> None:
    mistakes = [each for each in MISTAKES if each.row["says"] != ENDLESS]
    said, wrong = checked(mistakes), []
    for mistake in mistakes:
        where, lines = mistake.row.get("where", "check"), said.of(mistake)
        message = said.failures.get(mistake.name, "") if where == "install" else lines
        if where == "check" and (hook := mistake.about.get("hook")):
            assert f"{mistake.name}:x (X of corelm_{hook}) " in lines
        if where == "call":
            assert lines or mistake.kind == "command", f"--check is silent: {mistake}"
            message = mistake.use() + capsys.readouterr().err
        if mistake.row["says"] not in message:
            wrong.append(f"{mistake}: {mistake.row['says']!r} is not in {message!r}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_what_never_ends_is_named(
    checked: Callable[..., Checked], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a run of its own: others may take long on a busy machine."""
    monkeypatch.setattr(decoder_laws, "SECONDS", 0.5)
    monkeypatch.setattr(plugin_checks, "LIMITS", dict.fromkeys(plugin_checks.LIMITS, 2.0))
    endless = [each for each in MISTAKES if each.row["says"] == ENDLESS]
    said = checked(endless)
    for thread in threading.enumerate():
        if thread.name.endswith("(call)"):  # of a plugin, for which standard output is diverted
            thread.join()
    assert endless
    assert all(ENDLESS in said.of(mistake) for mistake in endless)


@pytest.mark.slow
def test_a_quick_check_applies_the_first_laws_alone(checked: Callable[..., Checked]) -> None:
    few = {each.kind: each for each in MISTAKES if each.row.get("where", "check") == "check"}
    said = checked([*few.values()], "--quick")
    laws = re.findall(r"breaks the law (\w+)", said.warnings)
    assert {*laws} <= {
        "is_a_distribution",
        "repeats_its_texts",
        "returns_logits",
        "returns_figures",
    }
