"""Compare corelm's samplers inside other engines with corelm itself, and write the table of a page.

    python docs/scripts/engines_table.py            measure, and write the table into the page
    python docs/scripts/engines_table.py --check    measure, and fail where a text or a
                                                    probability differs

Each engine generates from the shipped model `gpt2`, exported to its format, with corelm's sampler
in its own loop. corelm generates from the same file through its adapter, with the same seed. An
engine whose package is not installed keeps its columns of the page.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import corelm

PAGE = Path(__file__).resolve().parents[1] / "explanation" / "which-engine-runs-what.md"
BEGIN, END = "<!-- engines: begin -->\n", "<!-- engines: end -->\n"
PROMPTS = ("This movie", "I have never seen a film like", "The")
LENGTH, SEED = 24, 7
LIMIT = 1e-5
"""The largest difference of a probability that counts as equal."""
ROUGH = {"llama.cpp": 1e-3}
"""The same for engines that round so roughly that a text may differ; the page says why."""

SAMPLERS = (
    "temperature(t=0.7)",
    "top_p(p=0.9)",
    "min_p(p=0.05)",
    "typical(p=0.9)",
    "top_k(k=40)",
    "repetition_penalty(penalty=1.3)",
    "dry(multiplier=0.8)",
    "mirostat(tau=3.0)",
    "xtc(probability=0.5)",
    "no_repeat_ngram(n=3)",
    "p_less()",
    "repetition_penalty(penalty=1.1) | top_k(k=100) | min_p(p=0.02) | temperature(t=1.2)",
)

FORMATS = {"transformers": "transformers", "keras_hub": "keras_hub", "gguf": "gguf.gguf"}
"""The formats that the model is exported to, and the file or folder of each."""

Texts = list[list[int]]
Write = Callable[[corelm.Sampler, int], Texts]


def transformers_engine(folder: Path) -> tuple[corelm.LanguageModel, Write]:
    import torch
    from corelm_transformers import TransformersModel, as_logits_processor
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = folder / "transformers"
    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)

    def write(sampler: corelm.Sampler, seed: int) -> Texts:
        inputs = tokenizer(list(PROMPTS), return_tensors="pt", padding=True)
        processor = as_logits_processor(sampler, seed=seed, tokenizer=tokenizer)
        tokens = model.generate(
            **inputs, max_new_tokens=LENGTH, do_sample=True, logits_processor=[processor]
        )
        return tokens[:, inputs["input_ids"].shape[1] :].tolist()

    return TransformersModel(model, tokenizer), write


def llama_cpp_engine(folder: Path) -> tuple[corelm.LanguageModel, Write]:
    from corelm_llama_cpp import LlamaCppModel, LlamaCppVocabulary, as_logits_processor
    from llama_cpp import Llama, LogitsProcessorList

    path = str(folder / "gguf.gguf")
    # As its model in corelm: keys and values in single precision, no flash attention.
    engine = Llama(path, verbose=False, n_ctx=0, flash_attn_type=0, type_k=0, type_v=0)
    vocabulary = LlamaCppVocabulary(engine)

    def text(prompt: str, sampler: corelm.Sampler, seed: int) -> list[int]:
        processor = as_logits_processor(sampler, seed=seed, vocabulary=vocabulary)
        ids = engine.tokenize(prompt.encode())
        stream = engine.generate(ids, logits_processor=LogitsProcessorList([processor]))
        return [next(stream) for _ in range(LENGTH)]

    def write(sampler: corelm.Sampler, seed: int) -> Texts:
        return [text(prompt, sampler, seed) for prompt in PROMPTS]

    return LlamaCppModel(path), write


def mlx_engine(folder: Path) -> tuple[corelm.LanguageModel, Write]:
    from corelm_mlx import MlxModel, as_logits_processor
    from mlx_lm import load, stream_generate

    model, tokenizer = load(str(folder / "transformers"))

    def text(prompt: str, sampler: corelm.Sampler, seed: int) -> list[int]:
        processor = as_logits_processor(sampler, seed=seed, tokenizer=tokenizer)
        stream = stream_generate(
            model, tokenizer, prompt, max_tokens=LENGTH, logits_processors=[processor]
        )
        return [response.token for response in stream]

    def write(sampler: corelm.Sampler, seed: int) -> Texts:
        return [text(prompt, sampler, seed) for prompt in PROMPTS]

    return MlxModel(model, tokenizer), write


def keras_hub_engine(folder: Path) -> tuple[corelm.LanguageModel, Write]:
    import keras_hub
    from corelm_keras_hub import KerasHubModel, as_sampler

    causal_lm = keras_hub.models.CausalLM.from_preset(str(folder / "keras_hub"))
    model = KerasHubModel(causal_lm)
    causal_lm.preprocessor.generate_postprocess = lambda tokens: tokens  # ids, not strings
    lengths = [1 + len(model.vocabulary.encode(prompt)) for prompt in PROMPTS]  # 1: the start

    def write(sampler: corelm.Sampler, seed: int) -> Texts:
        causal_lm.compile(sampler=as_sampler(sampler, seed=seed))
        written = causal_lm.generate(
            list(PROMPTS), max_length=max(lengths) + LENGTH, stop_token_ids=None
        )
        return [
            np.asarray(row)[length : length + LENGTH].tolist()
            for row, length in zip(written["token_ids"], lengths, strict=True)
        ]

    return model, write


ENGINES: dict[str, tuple[str, Callable[[Path], tuple[corelm.LanguageModel, Write]]]] = {
    "transformers": ("corelm_transformers", transformers_engine),
    "KerasHub, TensorFlow": ("corelm_keras_hub", keras_hub_engine),
    "KerasHub, JAX": ("corelm_keras_hub", keras_hub_engine),
    "KerasHub, torch": ("corelm_keras_hub", keras_hub_engine),
    "llama.cpp": ("corelm_llama_cpp", llama_cpp_engine),
    "mlx-lm": ("corelm_mlx", mlx_engine),
}
"""The package and the driver of each engine; KerasHub has three backends."""

DISTRIBUTIONS: dict[tuple[int, ...], np.ndarray] = {}
"""The distribution after each text, by the text's ids, as `Recorded` saw it in this process."""


class Recorded(corelm.Sampler):
    """A last stage of a chain that records the distribution after each text."""

    reads = frozenset({"tokens"})

    def __call__(self, logits: np.ndarray, context: corelm.Context) -> np.ndarray:
        for text, row in zip(context.tokens.tolist(), logits, strict=True):
            DISTRIBUTIONS[tuple(text)] = corelm.softmax(row.astype(np.float64))
        return logits


ONE_AT_A_TIME = {"llama.cpp", "mlx-lm"}
"""Engines that write one text at a time here, so that each is the first sample of its run."""


def measured(name: str, folder: Path) -> list[dict[str, Any]]:
    """Return for each sampler the largest difference of a probability, and if the texts agree."""
    model, write = ENGINES[name][1](folder)
    rows = []
    for expression in SAMPLERS:
        sampler = corelm.sampler(expression) | Recorded()
        DISTRIBUTIONS.clear()
        texts = [cut(text, model) for text in write(sampler, SEED)]
        inside = {without_start(text, model): p for text, p in DISTRIBUTIONS.items()}
        DISTRIBUTIONS.clear()
        batched = name not in ONE_AT_A_TIME
        expected = [own(model, p, sampler, i if batched else 0) for i, p in enumerate(PROMPTS)]
        common = inside.keys() & DISTRIBUTIONS.keys()
        difference = max(float(np.abs(inside[text] - DISTRIBUTIONS[text]).max()) for text in common)
        rows.append({"sampler": expression, "difference": difference, "same": texts == expected})
    return rows


def without_start(text: tuple[int, ...], model: corelm.LanguageModel) -> tuple[int, ...]:
    """Return a text as corelm's contexts hold it."""
    return text[1:] if text[:1] == (model.vocabulary.start,) else text


def own(model: corelm.LanguageModel, prompt: str, sampler: corelm.Sampler, sample: int) -> list:
    """Return the tokens that corelm draws."""
    steps = corelm.stream(model, prompt, sampler=sampler, length=LENGTH, seed=SEED, sample=sample)
    return [int(step.tokens[0]) for step in steps]


def cut(tokens: Sequence[int], model: corelm.LanguageModel) -> list[int]:
    """Return the tokens up to the first that ends a text."""
    ends = [i for i, token in enumerate(tokens) if token in model.vocabulary.ends]
    return list(tokens[: ends[0] + 1]) if ends else list(tokens)


def in_processes(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Measure each installed engine in a process of its own, as Keras has one backend in each."""
    results = {}
    for name, (package, _) in ENGINES.items():
        if importlib.util.find_spec(package) is None:
            print(f"{name}: {package} is not installed", file=sys.stderr)
            continue
        print(f"{name} ...", file=sys.stderr)
        backend = name.partition(", ")[2].lower() or "tensorflow"
        run = subprocess.run(
            [sys.executable, __file__, "--engine", name, "--models", str(folder)],
            env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=subprocess.PIPE,
            check=True,
        )
        results[name] = json.loads(run.stdout.decode().splitlines()[-1])
    return results


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Return the table: a row for each sampler, a column for each engine."""
    head = ["sampler", *results]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for i, expression in enumerate(SAMPLERS):
        cells = [cell(rows[i]) for rows in results.values()]
        name = expression.replace("|", "\\|")
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def cell(row: dict[str, Any]) -> str:
    """Return a cell: the largest difference, rounded up to a power of ten, and the texts."""
    difference = row["difference"]
    power = 0 if not difference else 10.0 ** np.ceil(np.log10(difference))
    size = "0" if not power else f"< {power:.0e}".replace("e-0", "e-")
    return f"{size}, {'same' if row['same'] else '**other**'} text"


def differing(results: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Name the cells that are not equal within the limit."""
    return [
        f"{name}, {row['sampler']}: {row['difference']:.1e}, same text: {row['same']}"
        for name, rows in results.items()
        for row in rows
        if row["difference"] > ROUGH.get(name, LIMIT) or not (row["same"] or name in ROUGH)
    ]


def main() -> int:
    """Measure; write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--models", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        print(json.dumps(measured(options.engine, options.models)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        for form, name in FORMATS.items():
            command = ["corelm", "models", "export", "gpt2", "--to", form, f"{folder}/{name}"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        results = in_processes(Path(folder))
    for line in differing(results):
        print(line, file=sys.stderr)
    if not options.check:
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n{table(results)}\n{END}{after}", "utf-8")
    return bool(differing(results))


if __name__ == "__main__":
    sys.exit(main())
