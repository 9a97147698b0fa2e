"""The C library draws with the bits of the kernels in Python, as a program and as WebAssembly.

`CORELM_CHAIN_FLAGS` are options of the compiler; `.ci/sanitize` asks for sanitizers. WebAssembly
needs the package ziglang, and Node.js or the package wasmtime.
"""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from chain_program import Answer, Case, answers, c_compiler, compiled
from kernels import needs_kernels

import corelm
from corelm import Context, RandomStream
from corelm.contracts.language_model import never_drawn
from corelm.decoding.draws import calls_of
from corelm.errors import UsageError
from corelm.interop import chain_text
from corelm.native import rows
from corelm.testing import ToyModel

pytestmark = needs_kernels

VOCABULARY = ToyModel().vocabulary
SIZE = len(VOCABULARY)
FLAGS = os.environ.get("CORELM_CHAIN_FLAGS", "-O0 -g0").split()
STAGES = [
    "greedy", "temperature(t={p})", "temperature(t={n})", "temperature(t=0)", "uniform",
    "epsilon(epsilon={p})", "top_a(a={p})", "top_n_sigma(n={n})",
    "top_k(k={k})", "top_p(p={p})", "min_p(p={p})", "typical(p={p})", "top_h(h={p})",
    "tail_free(z={p})", "quadratic(factor={p}, curve=2)", "xtc(probability={p}, threshold={p})",
    "xtc(probability={p}, threshold=0.01, special=['end', 5])",
    "eta(epsilon={p})", "edt(t={n}, theta={p})", "edt(t={p}, theta=2, base=0.5)",
    "dynamic_temperature(t_min={p}, t_max={n})",
    "dynamic_temperature(t_min=0, t_max={n}, exponent={p})",
    "repetition_penalty(penalty={n})", "repetition_penalty(penalty={n}, last=3, skip_prompt=True)",
    "presence_penalty(penalty={n}, last=4)", "frequency_penalty(penalty={p}, skip_prompt=True)",
    "frequency_penalty(penalty={n}, last=5)", "logit_bias(bias={{5: {n}, 8: -{n}, 11: 1e300}})",
]  # fmt: skip


class Tokens:
    """A vocabulary of any size, of which nothing but the size is asked for."""

    padding, unknown, ends, unused, start = 0, None, (2,), (1, 7), 3

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def encode(self, text: str) -> list[int]:
        return []


def random_stages(chance: random.Random) -> list[str]:
    """Return up to five stages; a coin is the last, as a chain for C has it."""
    stages = chance.choices(STAGES, k=chance.randint(0, 5))
    coins = [stage for stage in stages if stage.startswith("xtc")]
    return [stage for stage in stages if stage not in coins] + coins[:1]


def random_case(chance: random.Random, rng: np.random.Generator) -> tuple[str, Tokens, Case]:
    size = chance.choice([13, 300, 300, 1500])
    tokens = Tokens(size)
    expression = " | ".join(
        stage.format(
            p=round(chance.uniform(0.01, 0.99), 3), n=round(chance.uniform(0.1, 3), 3),
            k=chance.randint(1, size),
        )
        for stage in random_stages(chance)
    ) or "stochastic"  # fmt: skip
    logits = rng.normal(0, rng.choice([0.1, 3, 40]), (int(rng.integers(0, 4)), size))
    if rng.random() < 0.3:
        logits = np.round(logits)
    logits[rng.random(logits.shape) < rng.choice([0, 0.5])] = -np.inf
    if rng.random() < 0.1:
        logits[:, 3] = rng.choice([np.nan, np.inf])
    text = chain_text(expression, tokens).encode()
    past = rng.integers(-1, 13, chance.randint(0, 12))
    if chance.random() < 0.3:
        past[:1] = tokens.start
    prompt = chance.randint(0, len(past))
    seed = chance.randrange(2**32)
    return expression, tokens, Case(text, logits.astype(np.float32), seed, past, prompt)


def in_python(expression: str, tokens: Tokens, case: Case) -> Answer:
    """The answer of the same kernels, called from Python."""
    stages = corelm.sampler(expression).active_stages
    past, prompt = case.tokens, case.prompt
    if past[:1].tolist() == [tokens.start]:  # it is no part of a text
        past, prompt = past[1:], max(prompt - 1, 0)
    texts = np.repeat(past[None], len(case.logits), axis=0)
    context = Context.of(texts, prompt_length=prompt, vocabulary=tokens)
    calls = calls_of(stages, context, case.logits.shape[1])
    stream = RandomStream(case.seed, [3])
    uniforms = np.array([stream.at(row)[0] for row in range(len(case.logits))])
    out, drawn, surprisals, valid = rows.sample(
        case.logits.copy(), never_drawn(tokens), calls, uniforms
    )
    entropies = rows.min_and_shannon_entropy(out)[1]
    wrong = np.isnan(surprisals)
    drawn[wrong], entropies[wrong] = -1, np.nan
    arrays = (drawn, surprisals, entropies, out)
    return Answer("", valid, *(array.tobytes() for array in arrays))


def assert_same(program: list[str | Path], seed: int, count: int) -> None:
    chance, rng = random.Random(seed), np.random.default_rng(seed)
    made = [random_case(chance, rng) for _ in range(count)]
    found = answers(program, [case for *_, case in made])
    for (expression, tokens, case), answer in zip(made, found, strict=True):
        expected = in_python(expression, tokens, case)
        if not expected.valid:  # logits have no meaning
            answer, expected = answer._replace(logits=b""), expected._replace(logits=b"")
        assert answer == expected, expression
    assert sum(answer.valid for answer in found) > count / 2


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    command = c_compiler()
    if command is None:
        pytest.skip("there is no C compiler here")
    path = tmp_path_factory.mktemp("chain") / "chain"
    return [compiled(command, path, *FLAGS, "-lpthread")]


@pytest.mark.slow
def test_it_draws_as_the_kernels_in_python(program):
    assert_same(program, seed=1, count=300)


def mutated(text: bytes, chance: random.Random) -> bytes:
    """The text with a few bytes or words changed, added, or left out."""
    for _ in range(chance.randint(1, 3)):
        at, to = sorted(chance.randrange(len(text) + 1) for _ in range(2))
        to = min(to, at + chance.choice([0, 1, 3, 40]))
        new = chance.choice([
            b"", b" ", b"\n", b"0", b"-", b"ids", b"inf", b"99999999999", b"0x1.8p+1", b"stage",
            b"0x1.8p+99999", b"end\n", b"never", b"\0", b"\xff", text[at:to] * 2, b"x" * 300,
        ])  # fmt: skip
        text = text[:at] + new + text[to:]
    return text


@pytest.mark.slow
def test_other_texts_are_refused_or_drawn_from(program):
    chance, rng = random.Random(2), np.random.default_rng(2)
    cases = []
    for _ in range(1000):
        *_, case = random_case(chance, rng)
        text = mutated(case.text, chance)
        if b"vocabulary 13\n" in text or b"vocabulary 300\n" in text:  # not one of gigabytes
            cases.append(case._replace(text=text))
    refused = [answer.error for answer in answers(program, cases) if answer.error]
    assert len(cases) / 2 < len(refused) < len(cases)
    assert all(error.startswith("line ") for error in refused)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"", "line 1: expected 'corelm chain 1', got ''"),
        (b"corelm chain 2\n", "line 1: expected 'corelm chain 1', got 'corelm'"),
        (b"corelm chain 1\nvocabulary x\n", "line 2: expected a number, got 'x'"),
        (b"corelm chain 1\nvocabulary 0\n",
         "no chain for rows of 0 logits: expected 1 to 2^31 - 2"),
        (b"corelm chain 1\nvocabulary 3\nnever 3\nend\n",
         "line 3: expected tokens of the vocabulary, got '3'"),
        (b"corelm chain 1\nvocabulary 3\nstage top_q 1\nend\n",
         "line 3: expected the name of a stage, got 'top_q'"),
        (b"corelm chain 1\nvocabulary 3\nstage top_k 0x1.8p+0\nend\n",
         "line 3: k: expected a whole number from 1 to 2147483647, got 1.5"),
        (b"corelm chain 1\nvocabulary 3\nstage top_p\nend\n",
         "line 3: top_p: expected 1 parameters, got 0"),
        (b"corelm chain 1\nvocabulary 3\nstage top_p ids 1\nend\n",
         "line 3: p: expected a number, got a list"),
        (b"corelm chain 1\nvocabulary 3\n",
         "line 3: expected 'never', 'start', 'stage', 'bias', 'penalty' or 'end', got ''"),
        (b"corelm chain 1\nvocabulary 3\npenalty 0 0 0 0 0\nend\n",
         "line 3: expected a penalty of a chain with room, got '0'"),
        (b"corelm chain 1\nvocabulary 3\nbias 1\nend\n", "line 3: expected a number, got ''"),
        (b"corelm chain 1\nvocabulary 3\nbias 1 inf\nend\n",
         "line 3: expected pairs of an id and a finite number, got 'inf'"),
        (b"corelm chain 1\nvocabulary 3\npenalty 1 0 0 -1 0\nend\n",
         "line 3: expected how many of the last tokens count, got '-1'"),
        (b"corelm chain 1\nvocabulary 3\nend", "line 3: expected another line, got ''"),
        (b"corelm chain 1\nvocabulary 3\nend\n\n", "line 4: expected no more, got ''"),
        (b"corelm chain 1\n# \xc3\xa9\nvocabulary 3\n" + 9 * b"stage greedy\n" + b"end\n",
         "line 12: the chain has as many stages as fit in one"),
    ],
)  # fmt: skip
def test_a_refusal_says_where_and_why(program, text, error):
    [answer] = answers(program, [Case(text, np.zeros((1, 3), np.float32), 0)])
    assert answer == Answer(error)


def test_a_stage_that_is_more_than_kernels_is_named():
    with pytest.raises(UsageError, match=r"^mirostat\(tau=2.* is not made of kernels alone"):
        chain_text("top_k(k=3) | mirostat(tau=2)", VOCABULARY)
    with pytest.raises(UsageError, match="at most 8 stages, not 9"):
        chain_text(" | ".join(["temperature(t=0.5)"] * 9), VOCABULARY)


def test_a_line_break_of_a_name_does_not_end_the_comment():
    text = chain_text("xtc(probability=0.5, special=[5, 'a\\nend'])", VOCABULARY)
    assert text.splitlines()[1].startswith("# xtc(")
    assert text.splitlines()[2] == f"vocabulary {SIZE}"


RUN_BY_NODE = """
import { readFile } from "node:fs/promises";
import { WASI } from "node:wasi";
const wasi = new WASI({ version: "preview1" });
const module = await WebAssembly.compile(await readFile(process.argv[2]));
wasi.start(await WebAssembly.instantiate(module, wasi.getImportObject()));
"""
RUN_BY_WASMTIME = """
import sys, wasmtime
engine = wasmtime.Engine()
store, linker, wasi = wasmtime.Store(engine), wasmtime.Linker(engine), wasmtime.WasiConfig()
linker.define_wasi()
wasi.inherit_stdin(), wasi.inherit_stdout()
store.set_wasi(wasi)
module = wasmtime.Module.from_file(engine, sys.argv[1])
linker.instantiate(store, module).exports(store)["_start"](store)
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="pip install ziglang")
def test_webassembly_draws_the_same(tmp_path):
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-wasi"]
    wasm = compiled(compiler, tmp_path / "chain.wasm", "-O1", "-msimd128")
    if shutil.which("node"):
        (tmp_path / "run.mjs").write_text(RUN_BY_NODE)
        command = ["node", "--no-warnings", tmp_path / "run.mjs", wasm]
    elif importlib.util.find_spec("wasmtime"):
        command = [sys.executable, "-c", RUN_BY_WASMTIME, wasm]
    else:
        pytest.skip("there is neither Node.js nor wasmtime here")
    assert_same(command, seed=3, count=100)
