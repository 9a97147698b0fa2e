"""Documents for the tests: small reports, a full-sized one, a malicious one."""

from __future__ import annotations

import base64
import copy
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import corelm
from corelm import Decoder, Sampler
from corelm.runs import Endings, Strategy, Texts
from corelm.testing import ToyModel
from corelm_report import Document as Typed
from corelm_report.document.gate import condition

Document = dict[str, Any]
NOTHING: Document = {
    "header": {
        "corelm": "0", "created": "", "command": None, "model": {"name": "", "sha256": None},
        "prompts": [], "n": 0, "length": 0, "seed": 0, "failed_plugins": [],
        "contexts": {"source": "model", "description": "", "texts": 0, "positions": 0},
    },
    "vocabulary": 0, "drawable": 0, "bounds": {"min": 0, "max": 0},
    "curve": {"t": [], "entropy": [], "slope": [], "surprisal": []},
}  # fmt: skip

EVIL = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)> \"'`$\\frac{ {{7*7}} "
    "\x1b[2J\x00"
)
"""A string that tries to run, and to break out of attributes, formulas, templates and terminals."""
BACKWARDS = "\u202eworb\u2066"


def visible(text: str) -> str:
    """The text as a page shows it: control characters are replaced."""
    return re.sub("[\x00-\x08\x0b-\x1f\x7f\u202e\u2066]", "\ufffd", text)


TEXTS = ["the cat sat on the mat", "the dog sat", "the cat ran to the dog", "the mat"]


def typed(document: Document) -> Typed:
    """The dataclasses of a document, or of some of its parts."""
    whole = NOTHING | document
    return Typed.from_dict({"shares": list(_shares(whole["samplers"]))} | whole)


def report_of(document: Document) -> corelm.Report:
    """The report of a document that need not be whole, or possible."""
    return corelm.Report.of_document(typed(document))


def _shares(samplers: list[Document]) -> Iterator[Document]:
    """The shares of which a summary speaks, with the intervals that the figures have.

    A figure without one is of a sampler that always writes the same texts.
    """
    for row in samplers:
        own = row.get("generated_texts") or {}
        for figure in ("rep_4", "loops"):
            if own.get(figure) is not None:
                ends = own.get("ci95", {}).get(figure, [own[figure]] * 2)
                yield {"sampler": row["sampler"], "figure": figure, "value": own[figure],
                       "interval": ends}  # fmt: skip


def tables_of(document: Document) -> str:
    """The page of a report without its pictures, which take most of the time of a page."""
    plain = copy.deepcopy(document) | {"curve": NOTHING["curve"]}
    for row in [plain["reference"], *plain["samplers"]]:
        for view in ("teacher_forced", "generated_texts"):
            if row and row.get(view):
                row[view] |= {"by_position": []} | ({"diversity": None} if view[0] == "g" else {})
                row[view].pop("human_recall", None)
    return report_of(plain).to_html()


def tripped(document: Document, text: str, metrics: Sequence[str] = ()) -> str:
    """What a condition of `--fail-if` says of a report; empty if it passes."""
    entries = [(row["sampler"], row["name"]) for row in document["samplers"]]
    return condition(text, entries, metrics).tripped(typed(document))


def compare(samplers=("greedy", "uniform"), **asked):
    """A small report, as its document."""
    people = {"against": "human"} if "reference" in asked else {}
    settings = {"prompts": "the", "n": 8, "length": 8, **people, **asked}
    return corelm.compare(settings.pop("model", ToyModel()), samplers, **settings).to_dict()


def carrier(**people):
    """A model with figures of human text in its manifest."""
    model = ToyModel()
    figures = {
        "surprisal": 1.1,
        "entropy": {"mean": 1.2, "median": 1.0, "band": [0.5, 2.0], "ci95": [1.1, 1.3]},
        "rep_2": 0.25,
        "distinct_1": 0.5,
        "ci95": {"distinct_1": [0.4, 0.6]},
        "sets": {"sets": 3, "texts": 64, "length": 100},
        "tokens": 1000,
        **people,
    }
    model.manifest = {"figures": {"human": figures, "held_out": {"tokens": 1000}}}
    return model


def full(document: Document, samplers: int = 7, texts: int = 5, tokens: int = 100) -> Document:
    """A report of this size over a vocabulary of 15,000 words of usual length."""
    document = copy.deepcopy(document)
    row = next(row for row in document["samplers"] if row["error"] is None)
    words = [f" word{chr(97 + i % 26)}{i}"[: 5 + i % 8] for i in range(tokens)]
    likely = [[word, 0.1234] for word in (" the", " interesting", " character", " and", ".")]
    token = {"rank": 1234, "p": 0.01234, "q": 0.1234, "entropy": 4.321, "alternatives": likely}
    row["texts"] = [
        {
            "prompt": "This movie",
            "sample": sample,
            "text": "".join(words),
            "tokens": [{"token": word} | token for word in words],
        }
        for sample in range(texts)
    ]
    document["samplers"] = [
        {**copy.deepcopy(row), "sampler": f"temperature(t={0.2 * (number + 1):.1f})"}
        for number in range(samplers)
    ]
    return document | {"try_it": playground(np.linspace(0, -30, 15_000))}


def playground(logits: np.ndarray[Any, np.dtype[Any]], prompt: str = "This movie") -> Document:
    """The part of a document that the sliders work on."""
    encoded = base64.b64encode(logits.astype("<f4").tobytes()).decode()
    words = [f" word{i}" for i in range(min(len(logits), 40))]
    return {"prompt": prompt, "logits": encoded, "words": words}


def hostile(document: Document) -> Document:
    """The same report with a malicious string in place of every free one."""
    evil: Document = _poisoned(copy.deepcopy(document))
    fixed = {"schema": document["schema"], "units": document["units"]}
    evil["header"]["contexts"]["source"] = document["header"]["contexts"]["source"]
    evil["header"]["settings_tried"] = {EVIL: 1}
    evil["header"]["failed_plugins"] = [{"plugin": EVIL, "reason": EVIL + BACKWARDS}]
    return evil | fixed | {"warnings": [EVIL], "try_it": playground(np.zeros(3), EVIL)}


def _poisoned(part: Any) -> Any:
    if isinstance(part, dict):
        chosen = ("finish_reason",)  # from a fixed list, so no text can be put there
        return {n: inner if n in chosen else _poisoned(inner) for n, inner in part.items()}
    if isinstance(part, list):
        return [_poisoned(inner) for inner in part]
    return EVIL + BACKWARDS if isinstance(part, str) else part


def texts(
    prompt: str, sampler: str | Sampler | Decoder, length: int, seed: int = 1, **more: Any
) -> Texts:
    """Return the texts of a run, of which a test draws some samples."""
    return Texts(prompt, Strategy.of(sampler), length, 1, seed, Endings(), **more)


def every_number(document: Document, number: float) -> Document:
    """The same report with another number in place of every one except counts."""
    changed: Document = _renumbered(document, number)
    return changed | {"header": document["header"]}


def _renumbered(part: Any, number: float) -> Any:
    if isinstance(part, dict):
        return {name: _renumbered(inner, number) for name, inner in part.items()}
    if isinstance(part, list):
        return [_renumbered(inner, number) for inner in part]
    return number if isinstance(part, float) and math.isfinite(part) else part
