"""What comes from outside is read in few places, each with a limit.

A file, a pipe or a server that a user names may be endless, huge, slow or deep. `read_text`,
`SafeFile`, `open_input`, `json_object` and `numbered_lines` have the limits; code that reads in
another way is listed here with the reason.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import corelm

ROOT = Path(corelm.__file__).parents[1]
FILES = [
    file
    for folder in ("corelm", "samplers", "plugins")
    for file in sorted((ROOT / folder).rglob("*.py"))
    if not {"tests", "build", "template", "examples"}.intersection(file.parts)
    and not file.name.startswith(("test_", "vllm_"))
]

MODULES = {"bz2", "gzip", "http", "httpx", "lzma", "pickle", "requests", "shelve", "socket"}
MODULES |= {"sqlite3", "tarfile", "tomllib", "urllib.request", "yaml", "zipfile"}
"""Modules that read files, streams and addresses."""
NAMES = {"open", "open_input", "safe_open"}
METHODS = {"read_bytes", "read_text", "fromfile", "genfromtxt", "load_file", "loadtxt", "memmap"}
METHODS |= {"open", "safe_open"}
OTHERS_OPEN = {"Output", "texts", "webbrowser"}
"""Their `open` opens no file."""
WRITTEN = {"w", "wb", "a", "ab", "x", "xb"}

LIMITED = [  # the place, how it reads, how often, and its limits
    ("corelm/machine.py", "open", 2, "open_input: ten seconds for a pipe; the callers limit bytes"),
    ("corelm/cli/choices.py", "open_input", 1, "read_text: one byte more than the limit"),
    ("corelm/cli/choices.py", "sys.stdin", 2, "read_text: one byte more than the limit"),
    ("corelm/cli/commands/chat.py", "sys.stdin", 3, "lines of a limited length"),
    ("corelm/cli/many_texts.py", ".open", 1, "SafeFile: lines of a limited length"),
    ("corelm/atomic_files.py", "open", 2, "read_buffer: its size; checksums: in pieces"),
    ("corelm/atomic_files.py", "open_input", 1, "SafeFile.open: the callers limit bytes"),
    ("corelm/models/corpus.py", "open_input", 1, "one byte more than the limit"),
    ("corelm/text/lines.py", "json.loads", 2, "json_object: its depth; a limited line"),
    ("corelm_grammar/json_schema.py", "json.loads", 1, "a limited length"),
    ("corelm_inspect_logs.py", "import zipfile", 1, "sizes, values, depth"),
    ("corelm_llama_cpp/gguf_file.py", "open", 1, "the header's numbers"),
    ("corelm_presets/commands.py", "sys.stdin", 2, "a megabyte"),
    ("corelm_presets/engine_settings/files.py", ".open", 1, "a megabyte"),
    ("corelm_presets/engine_settings/files.py", "import yaml", 1, "no alias"),
    ("corelm_presets/engine_settings/text_generation_webui.py", "json.loads",
     2, "a value of such a file"),
    ("corelm_probe/engines/http.py", "import http", 1, "bytes, and a timer"),
    ("corelm_probe/engines/http.py", "import socket", 1, "to end a connection"),
    ("corelm_probe/engines/http.py", "json.loads", 1, "a limited answer"),
    ("corelm_study/study_file.py", "import tomllib", 1, "a megabyte"),
    ("corelm_train/checkpoint.py", "safe_open", 1, "safetensors' own limits"),
    ("corelm_train/checkpoint.py", "json.loads", 1, "below its checksum"),
    ("corelm_train/imdb.py", ".open", 2, "an archive, in pieces up to a sum"),
    *(("corelm_train/imdb.py", f"import {name}", 1, "up to a sum of bytes")
      for name in ("bz2", "gzip", "lzma", "tarfile")),
    ("corelm_train/imdb.py", "import requests", 1, "the errors of a download"),
    ("corelm_train/keras_file.py", "import zipfile", 1, "limited members"),
    ("corelm_train/keras_file.py", ".open", 1, "a limited member"),
]  # fmt: skip
JOURNAL = "corelm_report/measure/journal.py"
OWN = [  # what corelm, the system or an installed package wrote
    ("corelm/bounded_calls.py", "json.loads", 2, "between a parent and its child"),
    ("corelm/bounded_calls.py", "open", 1, "/proc"),
    ("corelm/bounded_calls.py", "sys.stdin", 1, "between a parent and its child"),
    ("corelm/cli/applications.py", ".open", 1, "/dev/null"),
    ("corelm/cli/many_texts.py", "json.loads", 4, "texts that corelm wrote, and lines of a limit"),
    ("corelm/cli/many_texts.py", "open", 1, "texts that this process wrote"),
    ("corelm/cli/commands/models.py", "sys.stdin", 2, "is it a terminal?"),
    ("corelm/cli/scaffold.py", ".read_text", 1, "templates"),
    ("corelm/interop/tokenizer_vocabulary.py", "json.loads", 1, "the state of a tokenizer"),
    ("corelm/machine.py", ".read_text", 1, "/proc"),
    ("corelm/atomic_files.py", ".open", 1, "a folder, to synchronise it"),
    ("corelm/models/export/gguf.py", ".read_bytes", 1, "a file of this process"),
    ("corelm/native/cpu.py", ".read_text", 4, "/proc and /sys"),
    ("corelm/native/source_tree.py", ".read_text", 2, "this checkout"),
    ("corelm/native/source_tree.py", "json.loads", 1, "metadata of an installed package"),
    ("corelm/registry/offers.py", "open", 1, "metadata of installed packages"),
    ("corelm/testing/metric_laws.py", "import pickle", 1, "between a parent and its child"),
    ("corelm/testing/metric_laws.py", "json.loads", 1, "between a parent and its child"),
    ("corelm/testing/metric_laws.py", "sys.stdin", 1, "between a parent and its child"),
    ("corelm/scaling/dependencies.py", ".read_text", 2, "metadata of installed packages"),
    ("corelm/scaling/dependencies.py", "import urllib.request", 1, "url2pathname"),
    ("corelm/scaling/dependencies.py", "json.loads", 1, "metadata of installed packages"),
    ("corelm/scaling/dependencies.py", "open", 1, "installed packages, in pieces"),
    ("corelm/scaling/job.py", "import pickle", 1, "between the scheduler and its workers"),
    (JOURNAL, "json.loads", 4, "lines with a checksum in corelm's home"),
    (JOURNAL, "open", 2, "lines with a checksum in corelm's home"),
    ("corelm_stats/text_figures.py", "import gzip", 1, "to compress"),
    ("corelm_pages/bibtex.py", ".read_text", 1, "corelm's own file"),
    ("corelm_pages/page.py", ".read_text", 1, "templates"),
    ("corelm_pages/report.py", "json.loads", 1, "its own JSON"),
    ("corelm_study/study_reports.py", "json.loads", 1, "the cache of results"),
    ("corelm_study/unit_cache.py", "import sqlite3", 1, "the cache of results"),
    ("corelm_study/unit_cache.py", "json.loads", 2, "the cache of results"),
    ("corelm_serve/commands.py", "import socket", 3, "to listen; limits: safety.md"),
    ("corelm_serve/play/classroom.py", "import socket", 1, "this address"),
    ("corelm_serve/play/files.py", ".read_bytes", 1, "the page"),
    ("corelm_serve/play/one_file.py", ".read_bytes", 2, "the page"),
    ("corelm_serve/play/one_file.py", "import gzip", 1, "to compress"),
    ("corelm_serve/server.py", "import socket", 1, "a type"),
    ("corelm_smollm2.py", ".open", 1, "the file of an installed package"),
    ("corelm_train/keras_file.py", ".read_bytes", 1, "a file of this process"),
    ("corelm_train/keras_hub_export.py", ".read_bytes", 1, "the same"),
    ("corelm_train/settings.py", ".read_text", 1, "/proc"),
    ("corelm_train/vocabulary_learning.py", "json.loads", 1, "of a tokenizer"),
]  # fmt: skip


def reads(file: Path) -> Iterator[str]:
    """Yield each way in which a file reads by itself."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            parts = [f"{module}.{each.name}" if module else each.name for each in node.names]
            names = {name for part in parts for name in (part, part.partition(".")[0], module)}
            yield from (f"import {name}" for name in names & MODULES)
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.stdin":
            yield "sys.stdin"
        elif isinstance(node, ast.Call):
            yield from _call(node)


def _call(call: ast.Call) -> Iterator[str]:
    name, _, method = ast.unparse(call.func).rpartition(".")
    modes = [*call.args[not name :], *(key.value for key in call.keywords if key.arg == "mode")]
    written = any(isinstance(mode, ast.Constant) and mode.value in WRITTEN for mode in modes)
    if method == "open" and written:
        return
    if not name and method in NAMES:
        yield method
    elif name and method in METHODS and name.rpartition(".")[2] not in OTHERS_OPEN:
        yield f".{method}"
    elif name in ("json", "np") and method in ("load", "loads"):
        copied = ast.unparse(call).startswith("json.loads(json.dumps(")
        yield from () if copied else (f"{name}.{method}",)


@pytest.mark.slow
def test_others_files_and_answers_are_read_with_a_limit() -> None:
    places = Counter(
        (file.relative_to(ROOT).as_posix().partition("/corelm-")[2].partition("/")[2]
         or file.relative_to(ROOT).as_posix(), way) for file in FILES for way in reads(file)
    )  # fmt: skip
    listed = {(file, way): count for file, way, count, _ in (*LIMITED, *OWN)}
    assert dict(places) == listed, (
        "read it by read_text, SafeFile, json_object or numbered_lines, or list it with its limit"
    )


def test_a_new_way_to_read_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "new.py"
    file.write_text(
        "import json, zipfile\nfrom urllib import request\nfrom urllib.request import urlopen\n"
        "open(name)\nopen(name, 'w')\nPath(name).read_text()\njson.load(path.open('rb'))\n"
        "json.loads(json.dumps(value))\nnp.load(name)\nsys.stdin.read()\nOutput.open()\n"
    )
    assert sorted(reads(file)) == [
        ".open", ".read_text", "import urllib.request", "import urllib.request", "import zipfile",
        "json.load", "np.load", "open", "sys.stdin",
    ]  # fmt: skip
