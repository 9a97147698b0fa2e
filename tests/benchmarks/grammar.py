"""Measure the constraints of corelm-grammar: the time of a step, and a thousand texts validated.

    python tests/benchmarks/grammar.py [--sizes 4096 128000] [--texts 1000]

A step is one call of the sampler on one row, along a text of random allowed tokens. The vocabulary
is made up: the byte pairs of the model gpt2, and pairs of them. The texts are the model's. Those
that a length of 200 tokens cuts off are left out; each of the others is given to the package
jsonschema, or to `re.fullmatch`.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jsonschema
import numpy as np

import corelm
from corelm import machine
from corelm.abilities.optional import VocabularyAbilities

SIZES, STEPS, LENGTH, PROMPT = (4_096, 128_000), 300, 200, "A film: "
FILM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 30},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
        "tags": {"type": "array", "items": {"enum": ["good", "bad", "long"]}, "maxItems": 3},
    },
    "required": ["title", "stars", "tags"],
    "additionalProperties": False,
}
TREE: dict[str, Any] = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "number"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2},
            },
            "required": ["value", "children"],
            "additionalProperties": False,
        }
    },
}
EITHER: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": "^[A-Z][a-z]{2,8}$"},
        {"type": "object", "properties": {"n": {"type": "integer", "multipleOf": 5}},
         "required": ["n"], "additionalProperties": False},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 4},
    ]
}  # fmt: skip
PATTERNS = (r"(19|20)\d\d-(0[1-9]|1[0-2])", r"[A-Z][a-z]+( [a-z]+){0,5}[.!?]")


class MadeUp:
    """A vocabulary of bytes: the tokens of another one, and pairs of them.

    Args:
        vocabulary: a vocabulary of bytes.
        size: the number of ids; the last one ends a text.
    """

    padding = unknown = start = None

    def __init__(self, vocabulary: VocabularyAbilities, size: int) -> None:
        some = [vocabulary.token_bytes(i) for i in range(len(vocabulary))]
        pairs = np.random.default_rng(0).integers(len(some), size=(2 * size, 2)).tolist()
        distinct = dict.fromkeys([*some, *(some[a] + some[b] for a, b in pairs)])
        self._texts = [text for text in distinct if text][: size - 1]
        self.ends = (size - 1,)

    def __len__(self) -> int:
        return len(self._texts) + 1

    def token_bytes(self, token: int) -> bytes:
        return self._texts[token] if token < len(self._texts) else b""

    def encode(self, text: str) -> list[int]:
        return [self._texts.index(bytes([byte])) for byte in text.encode()]

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(map(self.token_bytes, ids)).decode(errors="replace")


class Cost(NamedTuple):
    """Milliseconds: of the first step, which reads the vocabulary, and of the later ones."""

    first: float
    median: float
    largest: float


def step_times(sampler: corelm.Sampler, vocabulary: MadeUp, steps: int = STEPS) -> Cost:
    """Time steps along texts of random allowed tokens."""
    rng = np.random.default_rng(1)
    logits = rng.standard_normal((1, len(vocabulary)), dtype=np.float32)
    times: list[float] = []
    text: list[int] = []
    while len(times) < steps:
        context = corelm.Context.of([text], prompt_length=0, vocabulary=vocabulary)
        start = time.perf_counter()
        result = sampler(logits, context)
        times.append(1e3 * (time.perf_counter() - start))
        [token], _ = corelm.draw(result, rng.random(1))
        text = [] if token in vocabulary.ends else [*text, int(token)]
    return Cost(times[0], float(np.median(times[1:])), max(times[1:]))


class Checked(NamedTuple):
    """The texts of one constraint: how many are complete, and how many of these are valid."""

    complete: int
    valid: int
    seconds: float


def check(sampler: corelm.Sampler, is_valid: Callable[[str], bool], texts: int) -> Checked:
    """Generate until some texts are complete, and validate these."""
    model = corelm.load("gpt2")
    start = time.perf_counter()
    found = list(_complete(model, sampler, texts))
    seconds = time.perf_counter() - start
    return Checked(len(found), sum(map(is_valid, found)), seconds)


def _complete(model: corelm.LanguageModel, sampler: corelm.Sampler, n: int) -> Iterator[str]:
    left, seed = n, 0
    while left:
        drawn = corelm.generate(
            model, PROMPT, sampler=sampler, length=LENGTH, n=min(left, 64), seed=seed
        )
        ended = [text.text for text in drawn if text.tokens[-1] in model.vocabulary.ends]
        left, seed = left - len(ended), seed + 1
        yield from ended


def constraints() -> Mapping[str, tuple[corelm.Sampler, Callable[[str], bool]]]:
    """Return the constraints by name, each with a function that validates a text."""

    def by_schema(schema: dict[str, Any]) -> tuple[corelm.Sampler, Callable[[str], bool]]:
        validator = jsonschema.Draft202012Validator(schema)
        sampler = corelm.sampler("json_schema", schema=json.dumps(schema))
        return sampler, lambda text: validator.is_valid(json.loads(text))

    def by_pattern(pattern: str) -> tuple[corelm.Sampler, Callable[[str], bool]]:
        sampler = corelm.sampler("regex", pattern=pattern)
        return sampler, lambda text: re.fullmatch(f" ?(?:{pattern})", text) is not None

    schemas = {"film": FILM, "tree": TREE, "either": EITHER}
    return {f"json_schema, {name}": by_schema(schema) for name, schema in schemas.items()} | {
        f"regex, {pattern}": by_pattern(pattern) for pattern in PATTERNS
    }


def read_options(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--texts", type=int, default=1000)
    return parser.parse_args(words)


def main() -> None:
    options, here = read_options(), machine.facts()
    print(f"{here['processor']}, {here['cores']} cores\n")
    print("| constraint | vocabulary | first step | median | largest |\n|---|---:|---:|---:|---:|")
    for size in options.sizes:
        vocabulary = MadeUp(corelm.load("gpt2").vocabulary, size)
        for name, (sampler, _) in constraints().items():
            cost = step_times(sampler, vocabulary)
            times = " | ".join(f"{value:,.2f} ms" for value in cost)
            print(f"| `{name}` | {len(vocabulary):,} | {times} |")
    each = -(-options.texts // len(constraints()))
    print("\n| constraint | complete texts | valid | seconds |\n|---|---:|---:|---:|")
    for name, (sampler, is_valid) in constraints().items():
        found = check(sampler, is_valid, each)
        print(f"| `{name}` | {found.complete:,} | {found.valid:,} | {found.seconds:.1f} |")


if __name__ == "__main__":
    main()
