"""More functions that read any bytes: what other people, programs and servers wrote."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from functools import cache
from http.client import HTTPResponse
from types import SimpleNamespace
from typing import Any

import numpy as np
from corelm_probe.engines import http
from corelm_replay import EntropyLog, Rollouts, TokenLog, receipts, record, verify
from corelm_replay.documents import stated_sampler
from corelm_replay.ratios import audit_of
from corelm_replay.receipts import Receipt
from targets import changed, chosen, folder, target, text_of

import corelm
from corelm.cli import many_texts
from corelm.commands import Output
from corelm.interop import requirements
from corelm.models.corpus import Corpus
from corelm.testing import ToyModel
from corelm_report.plan.plan import plan
from corelm_study.judging.pairs import Pair, read_judges
from corelm_study.logs.answers import read_answers
from corelm_study.registration import REGISTRATION, changes, compared
from corelm_study.study_file import parse_prompts, read_study
from corelm_study.study_output import diff_results
from corelm_study.study_reports import StudyResult
from corelm_study.unit_cache import UnitCache

try:  # here, since the fuzzer follows the lines of modules that are imported with this one
    from corelm_llama_cpp import gguf_file
except ImportError:
    gguf_file = None

CHAIN = "top_p(p=0.9)"


def document(data: bytes, usual: Callable[[], str]) -> str:
    """Return bytes that look like JSON as they are; others change a usual document."""
    if data[:1] in (b"{", b"["):
        return text_of(data)
    return json.dumps(changed(json.loads(usual()), data))


# Receipts and rollouts


@cache
def usual_receipt() -> str:
    [(_, one)] = receipts(ToyModel(), "the", sampler=CHAIN, length=4, seed=1)
    return one.to_json()


@target
def receipt(data: bytes) -> None:
    verify(Receipt.from_json(document(data, usual_receipt)), ToyModel())


@cache
def usual_rollouts() -> str:
    return record(ToyModel(), ["the", "a cat"], sampler=CHAIN, length=3, seed=1).to_json()


@target
def rollouts(data: bytes) -> None:
    read, model = Rollouts.from_json(document(data, usual_rollouts)), ToyModel()
    assert audit_of(read, stated_sampler(read.chain, None), model).table()


@cache
def usual_token() -> str:
    figures = dict.fromkeys(("entropy", "model_entropy", "kept_size"), 1.0)
    return json.dumps({
        "format": "corelm.tokens/1", "name": "a", "chain": CHAIN, "sample": 0, "prompt": [3],
        "place": 0, "token": 4, "sampling_mask": [4, 5], "logprobs": -1.0, "model_logprobs": -2.0,
        "kept_mass": 0.5, **figures,
    })  # fmt: skip


@target
def token_log(data: bytes) -> None:
    with folder() as path:
        lines = [document(line, usual_token) for line in data.split(b"\x00")]
        (path / "log").write_text("\n".join(lines), "utf-8", "surrogateescape")
        TokenLog.read(path / "log").rollouts()


@target
def entropy_log(data: bytes) -> None:
    usual = json.dumps(dict.fromkeys(
        ("entropy", "model_entropy", "kept_mass", "surprisal", "certain", "outside", "reward"), 0.5
    ) | {"step": 1})  # fmt: skip
    with folder() as path:
        lines = [document(line, lambda: usual) for line in data.split(b"\x00")]
        (path / "log").write_text("\n".join(lines), "utf-8", "surrogateescape")
        EntropyLog.read(path / "log").table()


# Studies, their results, and the verdicts and logs that they read


@target
def study(data: bytes) -> None:
    with folder() as path:
        (path / "study.toml").write_bytes(data)
        read = read_study(path / "study.toml")
        assert read.settings()
        plan(ToyModel(), "toy", read.samplers, None, **read.report)


def usual_lock() -> str:
    model = {
        "name": "m",
        "folder": "m",
        "report": "00",
        "sha256": None,
        "digests": {"human texts": ["a"], "prompts": "b"},
    }
    return json.dumps({
        "schema": "corelm.study/2", "settings": {"n": 1, "length": 2}, "versions": {"corelm": "0"},
        "plugins": {}, "code": {"corelm": "ab"}, "weights": {"m": "files:00"}, "models": [model],
        "created": "2026-01-01T00:00:00+00:00",
    })  # fmt: skip


@target
def results(data: bytes) -> None:
    """The lock of a study, or its registration."""
    with folder() as path, UnitCache(path / "units.sqlite") as cache, Output.open() as out:
        for name, usual in (("first", usual_lock()), ("second", document(data, usual_lock))):
            (path / name).mkdir()
            for file in ("study.json", REGISTRATION):
                (path / name / file).write_text(usual, "utf-8", "surrogateescape")
        for place in (path / "second", path / "first"):
            compared(place, json.loads(usual_lock()), cache)
        first, second = (StudyResult.read(path / name) for name in ("first", "second"))
        changes(first.lock, second.lock)
        diff_results(first, second, out)


@cache
def usual_units() -> bytes:
    with folder() as path:
        with UnitCache(path / "units.sqlite") as units:
            units.put("key", "[1]")
        return (path / "units.sqlite").read_bytes()


@target
def units(data: bytes) -> None:
    """The database of finished work; a place and the bytes there, or other bytes."""
    place, rest = data[:2], data[2:]
    content = bytearray(usual_units())
    if len(place) == 2:
        start = int.from_bytes(place, "big") % len(content)
        content[start : start + len(rest)] = rest
    with folder() as path:
        (path / "units.sqlite").write_bytes(content)
        with UnitCache(path / "units.sqlite") as cache:
            cache.get("key")
            cache.time_of("key")
            cache.put("other", "[2]")


def usual_log() -> str:
    sample = {"id": 1, "epoch": 1, "input": "a", "target": "b", "metadata": {"passage": "x"},
              "scores": {"match": {"value": "C"}}}  # fmt: skip
    return json.dumps({"eval": {}, "samples": [sample]})


def usual_answer() -> str:
    return json.dumps({
        "doc_id": 1, "doc": {"passage": "x"}, "doc_hash": "a", "target": "b", "filter": "none",
        "metrics": ["acc"], "acc": 1.0,
    })  # fmt: skip


@target
def log(data: bytes) -> None:
    """A log of Inspect, as an archive or JSON, or of lm-evaluation-harness."""
    name, rest = chosen(data, ("a.eval", "a.json", "a.jsonl", "raw.eval"))
    with folder() as path:
        if name == "a.eval":
            sample = json.dumps(json.loads(usual_log())["samples"][0])
            with zipfile.ZipFile(path / name, "w") as archive:
                archive.writestr(
                    "samples/1.json", document(rest, lambda: sample).encode(errors="replace")
                )
        elif name == "raw.eval":
            (path / name).write_bytes(rest)
        else:
            usual = usual_log if name == "a.json" else usual_answer
            (path / name).write_text(document(rest, usual), "utf-8", "surrogateescape")
        read_answers(path / name, "passage")


@target
def verdicts(data: bytes) -> None:
    pair = Pair("a", "x", "y", "", ("p", 1, 0), ("1", "2"), swapped=True)
    name, rest = chosen(data, ("a.csv", "a.jsonl"))
    with folder() as path:
        (path / name).write_bytes(rest)
        read_judges([path / name], {"a": pair})


# Texts


@target
def texts(data: bytes) -> None:
    """Human texts, and prompts in lines of text or JSON."""
    with folder() as path:
        (path / "a.txt").write_bytes(data)
        for each in Corpus.texts_in(path / "a.txt"):
            assert each.strip()
    parse_prompts(data.decode("utf-8", "replace"), "a.jsonl" if data[:1] == b'"' else "a.txt")


@target
def unfinished_texts(data: bytes) -> None:
    """A file of texts to continue."""
    with folder() as path:
        (path / "a.jsonl.part").write_bytes(data)
        (path / "a.jsonl.part.json").write_text('{"n": 2}')
        with many_texts.opened(path / "a.jsonl", {"n": 2}, resume=True) as file:
            assert file.written >= 0


# Models and servers


@target
def gguf(data: bytes) -> None:
    """The header of a GGUF file, where llama.cpp is installed."""
    if gguf_file is None:
        return
    raw, rest = chosen(data, (False, True))
    with folder() as path:
        (path / "a.gguf").write_bytes(rest if raw else b"GGUF\x03\0\0\0" + bytes(8) + rest)
        gguf_file.repeated_token(path / "a.gguf")


@target
def engine_folder(data: bytes) -> None:
    """The configuration, and the index of the weights, of a folder of an engine."""
    config, _, index = data.partition(b"\0")
    with folder() as path:
        (path / "config.json").write_bytes(config)
        if index:
            (path / "model.safetensors.index.json").write_bytes(index)
        requirements.check_model(path)


class _Connection:
    """A connection to a server that has answered already."""

    answer = b""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.sock = None

    def request(self, *_: Any) -> None:
        """Send nothing."""

    def getresponse(self) -> HTTPResponse:
        stream = SimpleNamespace(makefile=lambda mode: io.BytesIO(self.answer))
        response = HTTPResponse(stream)  # type: ignore[arg-type]
        response.begin()
        return response

    def close(self) -> None:
        """Close nothing."""


@target
def answer(data: bytes) -> None:
    """What a server answers to the probe: the whole answer, or its body."""
    api, rest = chosen(data, http.APIS)
    whole = rest.startswith(b"HTTP/")
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(rest)
    _Connection.answer, own = rest if whole else head + rest, http.HTTPConnection
    http.HTTPConnection = _Connection  # type: ignore[assignment, misc]
    try:
        with http.HttpEngine("http://localhost:1", api, timeout=5) as engine:
            drawn = engine.draw([3], {}, 2, 1, 4)
            assert drawn.dtype == np.int64
            if engine.reports_logprobs:
                engine.logprobs([3], {}, 1, 4)
    finally:
        http.HTTPConnection = own  # type: ignore[misc]


PARAMETERS = [
    ("temperature", "t"), ("top_k", "k"), ("ban", "words"), ("logit_bias", "bias"),
    ("dry", "sequence_breakers"), ("phase", "inside"), ("schedule", "sampler"), ("force", "words"),
]  # fmt: skip


@target
def parameter(data: bytes) -> None:
    """The text of a sampler's parameter, as an option of a command has it."""
    (name, each), rest = chosen(data, PARAMETERS)
    corelm.sampler(name, **{each: text_of(rest)})
