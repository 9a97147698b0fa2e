"""The page of what corelm vouches for has every such sentence, and tests that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from test_readers import FILES, ROOT

PAGE = ROOT / "docs/explanation/what-corelm-vouches-for.md"
VOUCHES = re.compile(
    r"as stated|as registered|made both|same distribution|to the last bit|equivalent|\bobeys?\b|"
    r"verified|\bconsistent\b|\bunchanged\b|identical|guarantee|\bproves?\b|taken from earlier|"
    r"paired by|chang\w+ nothing|no difference|never removes|repeats its text|\bagrees?\b|"
    r"clos\w+ to human|in a loop|the sampler's,|figures compared|genuine|same since",
    re.IGNORECASE,
)
DECLARED = {"param", "Option", "Argument", "field", "law"}
"""Calls whose strings describe an option or a law."""
OTHERS = (  # say what something does, or that it can't be told
    "single characters, unchanged", "anything between spaces, unchanged", "0 if it changes nothing",
    "The core skips a stage", "Which sampler is the", "Only {} may be", "not consistent",
    "Not as registered", "The units are the prompts, or their clusters",
)  # fmt: skip
NAMES = {"unchanged", "consistent"}
"""Keys of JSON, and the name of a law."""


def messages(tree: ast.AST) -> Iterator[str]:
    """Yield the strings that a user may read, but for docstrings, errors and help."""
    if isinstance(tree, ast.Raise | ast.Assert):
        return
    if isinstance(tree, ast.Expr) and isinstance(tree.value, ast.Constant):
        return
    if isinstance(tree, ast.Call):
        name = ast.unparse(tree.func).rpartition(".")[2]
        if name in DECLARED or name.endswith("Error"):
            return
    if isinstance(tree, ast.JoinedStr):
        parts = [each.value if isinstance(each, ast.Constant) else "{}" for each in tree.values]
        yield "".join(map(str, parts))
    elif isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield tree.value
    else:
        for child in ast.iter_child_nodes(tree):
            yield from messages(child)


def vouching() -> Iterator[tuple[str, str]]:
    """Yield the file and the text of each message with a word that vouches."""
    for file in FILES:
        source = file.read_text("utf-8")
        if VOUCHES.search(source):
            for text in messages(ast.parse(source)):
                if VOUCHES.search(text):
                    yield file.name, text


def on_page(text: str, page: str) -> bool:
    """Return True if a sentence of the page's first column has the part that vouches."""
    parts = (part.strip(" .,:;()") for part in re.split(r"\{\w*\}|[.;:(]", text))
    sentences = re.findall(r"\*([^*]{9,})\*", page)
    return any(part in page for part in parts if VOUCHES.search(part)) or any(
        sentence in text for sentence in sentences
    )


@pytest.mark.slow
def test_each_message_that_vouches_is_on_the_page() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    column = "\n".join(row.split("|")[1] for row in rows)
    missing = [
        entry
        for entry in vouching()
        if not on_page(entry[1], column)
        and entry[1] not in NAMES
        and not any(other in entry[1] for other in OTHERS)
    ]
    assert missing == [], "add a row with the test that attacks it"


def test_each_row_names_tests_that_exist() -> None:
    tests = {file.name for file in ROOT.rglob("test_*.py")}
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.count("|") == 5][2:]
    assert len(rows) >= 20
    for row in rows:
        names = set(re.findall(r"`(test_\w+\.py)`", row.rsplit("|", 2)[1]))
        assert names, row
        assert names <= tests, row


def test_a_new_sentence_is_seen() -> None:
    code = '"""Verified."""\nif x: raise Error("verified")\nshow(f"{x} is verified")\n'
    assert list(messages(ast.parse(code))) == ["{} is verified"]
    assert not on_page("{} is verified", "| *all 12 tokens were drawn as stated* |")
    assert on_page("all {} tokens were drawn as stated:", "*all 12 tokens were drawn as stated*")
