"""Functions that read any bytes, and may raise nothing but the errors of `corelm.errors`.

Each is given to the fuzzer by `run.py`, and to the corpus by `test_fuzz.py`. Where a checksum would
keep the fuzzer out, the target signs what it was given, so that the code behind it is reached.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import documents
import small_models
from corelm_presets.engine_settings.convert import ENGINES, read_content
from corelm_train.checkpoint import Checkpoint
from corelm_train.imdb import fetch_imdb
from kernel_calls import call_kernels

import corelm
from corelm import TextPatterns, atomic_files
from corelm.bundles import BytePairVocabulary, WordVocabulary
from corelm.errors import CorelmError
from corelm.models import bundle
from corelm.models.byte_pairs import ALPHABET, SPECIAL
from corelm.models.contents import parse_weights
from corelm.models.word_vocabulary import STYLES
from corelm_report.measure import journal

TARGETS: dict[str, Callable[[bytes], None]] = {}
Document = dict[str, Any]


def target(function: Callable[[bytes], None]) -> Callable[[bytes], None]:
    TARGETS[function.__name__] = function
    return function


def attempt(name: str, data: bytes) -> None:
    """Give bytes to a target; raise what is not one of corelm's own errors."""
    with contextlib.suppress(CorelmError):
        TARGETS[name](data)


def text_of(data: bytes) -> str:
    """Decode bytes as the arguments of a command are decoded."""
    return data.decode("utf-8", "surrogateescape")


def chosen(data: bytes, options: Any) -> tuple[Any, bytes]:
    """Choose an option by the first byte; return it, and the rest."""
    options = list(options)
    return options[(data[:1] or b"\0")[0] % len(options)], data[1:]


@contextlib.contextmanager
def folder() -> Any:
    """A new folder, in memory where the system has a place there."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="corelm-fuzz-", dir=memory) as outside:
        path = Path(outside, "home")  # what is next to it was written outside
        path.mkdir()
        home, os.environ["CORELM_HOME"] = os.environ.get("CORELM_HOME"), str(path)
        try:
            yield path
        finally:
            os.environ.pop("CORELM_HOME")
            if home is not None:
                os.environ["CORELM_HOME"] = home


# Readers of texts


@target
def expression(data: bytes) -> None:
    sampler = corelm.sampler(text_of(data))
    assert corelm.sampler(str(sampler)) == sampler


@target
def pattern(data: bytes) -> None:
    ignore_case, rest = chosen(data, (False, True))
    written, _, text = text_of(rest).partition("\0")
    TextPatterns(text[:3], written, ignore_case=ignore_case).search(text)


@target
def settings(data: bytes) -> None:
    engine, content = chosen(data, (None, *ENGINES))
    found = read_content(content, engine)
    written = corelm.to_settings(found.sampler, found.engine)
    assert corelm.from_settings(written, found.engine).sampler == found.sampler


@target
def grammar(data: bytes) -> None:
    name, rest = chosen(data, ("regex", "json_schema", "lark", "choice"))
    key = {"regex": "pattern", "json_schema": "schema", "lark": "grammar", "choice": "words"}[name]
    text = text_of(rest)
    sampler = corelm.sampler(name, **{key: text.split("\0") if name == "choice" else text})
    model = corelm.testing.ToyModel(["{", "}", '"a"', ":", "1", "good", "bad"])
    corelm.generate(model, "good", sampler=sampler, length=3, seed=1)


# Readers of vocabularies


@target
def vocabulary(data: bytes) -> None:
    style, rest = chosen(data, STYLES)
    text = rest.decode("utf-8", "replace")
    words = WordVocabulary.loads(text, style)
    assert WordVocabulary.loads(words.dumps(), style).words == words.words
    ids = words.encode(text)
    assert words.decode(ids).startswith(words.decode(ids[: len(ids) // 2]))


@target
def byte_pairs(data: bytes) -> None:
    whole, rest = chosen(data, (False, True))
    text = rest.decode("utf-8", "replace")
    start = "" if whole else "".join(f"{line}\n" for line in (*SPECIAL, *ALPHABET))
    pairs = BytePairVocabulary.loads(start + text)
    assert BytePairVocabulary.loads(pairs.dumps()).merges == pairs.merges
    assert pairs.decode(pairs.encode(text)) == text


@target
def tokens(data: bytes) -> None:
    """Any text has tokens, and any bytes are a text."""
    text = text_of(data)
    pairs = BytePairVocabulary([("a", "b"), ("ab", "c"), ("Ġ", "a")])
    assert pairs.decode(pairs.encode(text)) == text.encode(errors="replace").decode()
    assert isinstance(pairs.decode([2 + byte for byte in data]), str)
    for style in STYLES:
        words = WordVocabulary(["", "[UNK]", "[end]", "a", "--", "."], style)
        words.decode(words.encode(text))


# Readers of files


@target
def weights(data: bytes) -> None:
    raw, rest = chosen(data, (True, False))
    content = rest if raw else len(rest).to_bytes(8, "little") + rest + bytes(64)
    parse_weights(memoryview(content), small_models.TINY)


@target
def model(data: bytes) -> None:
    """One file of a model is other bytes, with a manifest that fits them."""
    name, content = chosen(data, (bundle.CONFIG, bundle.VOCABULARY, bundle.WEIGHTS, None, ""))
    with folder() as path:
        small_models.write(path / "m")
        if name:
            (path / "m" / name).write_bytes(content)
        manifest = (path / "m" / bundle.MANIFEST).read_bytes()
        (path / "m" / bundle.MANIFEST).write_bytes(
            content if name == "" else signed(path / "m", manifest, content)
        )
        loaded = corelm.load(path / "m")
        corelm.generate(loaded, "good", sampler="greedy", length=2, seed=1)


def signed(path: Path, manifest: bytes, content: bytes) -> bytes:
    """The manifest with the sizes and checksums of the files, and entries of the content."""
    value = json.loads(manifest)
    with contextlib.suppress(ValueError, RecursionError):
        changed = json.loads(content)
        value |= changed if isinstance(changed, dict) and "architecture" not in changed else {}
    for name, entry in value["files"].items() if isinstance(value["files"], dict) else ():
        if isinstance(entry, dict) and name in (bundle.CONFIG, bundle.VOCABULARY, bundle.WEIGHTS):
            file = (path / name).read_bytes()
            entry |= {"size": len(file), "sha256": atomic_files.sha256(file)}
    value.pop("checksum", None)
    value["checksum"] = atomic_files.sha256(_dumped(value))
    return _dumped(value)


def _dumped(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


@target
def checkpoint(data: bytes) -> None:
    kind, rest = chosen(data, ("raw", "header", "metadata"))
    if kind == "metadata":
        rest = json.dumps({"__metadata__": {"corelm": text_of(rest)}}).encode()
    if kind != "raw":
        rest = len(rest).to_bytes(8, "little") + rest + bytes(64)
    with folder() as path:
        (path / "c").write_bytes(rest)
        saved = Checkpoint(path / "c", {"epochs": 3, "seed": 1})
        saved.saved_precision()
        saved.load([])


@target
def archive(data: bytes) -> None:
    """Nothing is written outside the folder of the data."""
    raw, rest = chosen(data, (False, True))
    with folder() as path:
        (path / "archive").write_bytes(rest if raw else packed(rest))
        try:
            fetch_imdb(path / "archive")
        finally:
            assert list(path.parent.iterdir()) == [path]
            assert {each.name for each in path.iterdir()} <= {"archive", "data"}
            assert {each.name for each in (path / "data").iterdir()} <= {"aclImdb", "aclImdb.lock"}


def packed(data: bytes) -> bytes:
    """A tar archive of members: type, format, name, target of a link and content of each."""
    buffer = io.BytesIO()
    for part in data.split(b"\0\0"):
        fields = [*part[2:].split(b"\n", 2), b"", b""]
        member = tarfile.TarInfo(text_of(fields[0]))
        member.type, member.linkname = part[:1] or b"0", text_of(fields[1])
        member.size = len(fields[2]) * (3 if part[1:2] == b"x" else 1)
        with contextlib.suppress(ValueError, OverflowError, UnicodeError):
            kind = tarfile.PAX_FORMAT if part[1:2] == b"p" else tarfile.GNU_FORMAT
            buffer.write(member.tobuf(kind, errors="surrogateescape"))
            buffer.write(fields[2] + bytes(-len(fields[2]) % 512))
    return buffer.getvalue() + bytes(1024)


@cache
def usual_report() -> str:
    """A small report, as JSON."""
    return json.dumps(documents.compare(("greedy", "uniform"), n=2, length=3))


@target
def report(data: bytes) -> None:
    """A report with other values in a few places, or other bytes."""
    if data[:1] == b"{":
        with folder() as path:
            (path / "report.json").write_bytes(data)
            made = corelm.Report.read(path / "report.json")
    else:
        made = corelm.Report(changed(json.loads(usual_report()), data))
    forms = made.to_json(), made.to_csv(), made.to_markdown(), made._repr_html_(), repr(made)
    assert all(forms)


@target
def report_page(data: bytes) -> None:
    """The same with its page, whose charts take half a second."""
    assert corelm.Report(changed(json.loads(usual_report()), data)).to_html()


def changed(document: Document, data: bytes) -> Document:
    """Change a document: each line has the number of a place, and a value in JSON."""
    for line in data.split(b"\n"):
        number, _, value = line.partition(b" ")
        places = [*_places(document)]
        if number.isdigit() and len(number) < 9 and places:
            part, key = places[int(number) % len(places)]
            with contextlib.suppress(ValueError, RecursionError):
                part[key] = json.loads(value)
    return document


def _places(part: Any) -> Any:
    """Yield every entry of a document, as what holds it and its key."""
    entries = part.items() if isinstance(part, dict) else enumerate(part)
    for key, value in list(entries):
        yield part, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


@target
def unfinished_report(data: bytes) -> None:
    """A journal to resume from, whose lines are signed or not."""
    sign, rest = chosen(data, (False, True))
    asked = {"seed": 1}
    header = json.dumps(asked).encode()
    key = journal._checksum(b"", header)
    lines = [journal._line(key, line) if sign else line + b"\n" for line in rest.split(b"\n")]
    with folder() as path:
        (path / journal.FOLDER).mkdir()
        file = path / journal.FOLDER / f"{key.decode()}.jsonl"
        file.write_bytes(b"".join([journal._line(b"", header), *lines]))
        with journal.opened(asked, resume=True) as opened:
            if "unit" in opened:
                opened.take("unit")
            assert opened.keep("unit", "[1]") == [1]


# Kernels


@target
def kernels(data: bytes) -> None:
    """Calls of the kernels with arguments that fit, nearly fit, or don't."""
    call_kernels(data)
