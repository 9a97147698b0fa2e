"""How often the statements of a report are false, where the truth is known.

- `bold`: 19 rows write like a twentieth, with random numbers of their own; a difference is bold.
- `p-values`: the same, and a permutation test is significant.
- `closest`: the row that is truly the closest of six to human text is not in the set.
- `margin`: ten rows differ from human text by exactly 0.1 nats in mean surprisal, and one of them
  is called equivalent within 0.1 nats or said to differ by more.
- `loops`: one of eight rows, of whose texts 0.3 % end in loops, is said to end in loops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import chains
import numpy as np
from corelm_report.document.content import Document, HumanEntry, SamplerEntry
from corelm_report.document.evidence import MARGIN, summary
from corelm_report.measure.comparisons import closest, shares
from corelm_report.measure.entries import Measured, from_entry
from corelm_report.measure.text_records import TextRecord, kept_texts
from corelm_report.measure.text_set import TextSet
from corelm_report.metrics.inference import HUMAN, Inference
from corelm_report.render.permutation_tests import permutation_tests
from corelm_report.render.tables import clear_differences
from statements_of_figures import (
    BAND,
    EQUAL,
    HUMAN_TEXTS,
    LIKE_PEOPLE,
    LOOPING,
    PEOPLE,
    RARELY,
    SAMPLER,
    TEMPERATURES,
    Design,
    true_closest,
)

import corelm
from corelm.testing import ToyModel

STATEMENTS = ("bold", "p-values", "closest", "margin", "loops")
Records = list[TextRecord]
_EMPTY = corelm.compare(ToyModel(), ["greedy"], prompts="the", n=2, length=2).to_dict()


def false_statements(some: Sequence[str], design: Design, reports: int) -> list[float | None]:
    """Return the share of the reports with a false statement of each kind; None without any.

    Args:
        some: the chains.
        design: the prompts, and the texts of each.
        reports: the number of reports of each chain.
    """
    found = [_of_report(chain, design, seed) for seed in range(reports) for chain in some]
    columns = [[each for each in column if each is not None] for column in zip(*found, strict=True)]
    return [float(np.mean(column)) if column else None for column in columns]


def _of_report(chain: str, design: Design, seed: int) -> list[bool | None]:
    """Return whether each statement of a report is false; None if it says nothing."""
    rng = np.random.default_rng([seed, *design])
    some = chains.prompts_of(chain, design[0], rng)
    sampled = _texts(chain, some, design[1], rng)
    equal = [sampled(SAMPLER) for _ in range(EQUAL)]
    document = _document(equal)
    tests = permutation_tests(document)
    return [
        bool(clear_differences(document)),
        any(test.significant for test in tests),
        _closest_is_left_out(chain, design, some, rng),
        _margin_is_wrong(equal[:LIKE_PEOPLE], chain, rng),
        _loops_are_named(equal[:LOOPING], rng),
    ]


def _texts(
    chain: str, some: chains.Topics, samples: int, rng: np.random.Generator, shared: bool = False
) -> Callable[[str], Records]:
    """Return a function that writes the texts of a sampler, with random numbers of its own."""
    shape = (len(some.words), samples, chains.LENGTHS[chain])
    uniforms = rng.random(shape)

    def write(sampler: str) -> Records:
        return chains.write(some, sampler, uniforms if shared else rng.random(shape)).records()

    return write


def _document(rows: Sequence[Records]) -> Document:
    """Return the report of some rows, compared with the first one."""
    sets = [Measured({}, TextSet(row, BAND), Inference.of_names([])) for row in rows]
    entries = []
    for at, (row, own) in enumerate(zip(rows, sets, strict=True)):
        entry = SamplerEntry(sampler=f"row {at}", generated_texts=own.texts.summary())
        entry.texts = kept_texts(row, own.texts.of_text, None)
        if at:
            entry.differences = from_entry("row 0", own, sets[0])
        entries.append(entry)
    return replace(Document.from_dict(_EMPTY), samplers=entries)


def _people(records: Records) -> tuple[HumanEntry, TextSet]:
    own = TextSet(records, BAND, source=HUMAN)
    return HumanEntry(generated_texts=own.summary()), own


def _closest_is_left_out(
    chain: str, design: Design, some: chains.Topics, rng: np.random.Generator
) -> bool | None:
    write = _texts(chain, some, design[1], rng, shared=True)
    rows = {f"temperature(t={t})": write(f"temperature(t={t})") for t in TEMPERATURES}
    measured = {
        name: Measured({}, TextSet(row, BAND), Inference.of_names([])) for name, row in rows.items()
    }
    # Human texts have other prompts of the same kind; with few prompts, these prompts.
    count = HUMAN_TEXTS if design[0] >= chains.MANY else design[0]
    others = chains.topics(chain, count, rng) if design[0] >= chains.MANY else some
    human, people = _people(_texts(chain, others, HUMAN_TEXTS // count, rng)(PEOPLE))
    found = closest(measured, human, people).rows
    return None if not found else true_closest(chain, design) not in found


def _margin_is_wrong(rows: Sequence[Records], chain: str, rng: np.random.Generator) -> bool | None:
    """Human texts are written like the rows, with 0.1 nats more for each token."""
    place = {record["prompt"] for record in rows[0]}
    design = (len(place), -(-HUMAN_TEXTS // len(place)))
    some = chains.prompts_of(chain, design[0], rng)
    records = _texts(chain, some, design[1], rng)(SAMPLER)
    for record in records:
        record["surprisal"] = [nats + MARGIN for nats in record["surprisal"]]
    human, people = _people(records)
    measured = {
        f"row {chr(97 + at)}": Measured({}, TextSet(row, BAND), Inference.of_names([]))
        for at, row in enumerate(rows)
    }
    near = closest(measured, human, people)
    if not near.rows:
        return None
    entries = [
        SamplerEntry(sampler=name, generated_texts=each.texts.summary())
        for name, each in measured.items()
    ]
    said = summary(
        replace(
            Document.from_dict(_EMPTY),
            human=human,
            samplers=entries,
            closest=near.rows,
            simultaneous=near.differences,
        )
    )
    sentences = [each for each in said.split(". ") if not each.startswith("Whether")]
    return any("equivalent" in each or "by more than" in each for each in sentences)


def _loops_are_named(rows: Sequence[Records], rng: np.random.Generator) -> bool:
    """Each text ends in a loop with a small probability, independently of all others."""
    entries, measured = [], {}
    for at, row in enumerate(rows):
        texts = []
        for record in row:
            text = record.copy()
            text["tokens"] = [3, 4, 5, 6, 7, 8] + (6 * [9, 10] if rng.random() < RARELY else [9])
            texts.append(text)
        measured[f"row {at}"] = own = Measured({}, TextSet(texts, BAND), Inference.of_names([]))
        entries.append(SamplerEntry(sampler=f"row {at}", generated_texts=own.texts.summary()))
    found = shares(measured)
    said = summary(replace(Document.from_dict(_EMPTY), samplers=entries, shares=found))
    return "in loops" in said
