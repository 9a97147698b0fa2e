"""Compare corelm's samplers inside transformers with corelm itself, in the cases that go wrong.

    python tests/benchmarks/equality.py [--samplers 4] [--models llama qwen2 ...]

Every sampler runs in the engine's own loop on tiny random models of five architectures, with three
kinds of tokenizers, in two ways: as a logits processor and as corelm's loop. corelm writes the same
texts from the same model and seed through its adapter. A row of the table is a case, a column an
architecture; a cell has the largest difference of a probability, over all tokens at every step, and
the number of texts that are the same.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tokenizers
import torch
import transformers
from corelm_transformers import TransformersModel, as_logits_processor, corelm_loop

import corelm
from corelm.cli.output.describe import example
from corelm.errors import CorelmError, SamplerError, UsageError
from corelm.interop.testing import DISTRIBUTIONS, Recorded, tiny_tokenizer
from corelm.plugins.registry import registry
from corelm.testing import ToyModel

PROMPTS = ("see the cat sit", "the", "a cat")
LENGTH, SEED = 10, 7
LIMIT = 1e-3
"""The largest difference that rounding explains: a padded batch is added up in another order, and
`adaptive_p` adapts to surprisals that differ in their last bits."""
PENALTY = 1.3
ALONE = "the cat sit the"
"""A prompt without padding, which the engine's own penalty would count as a token."""

SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
         "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8,
         "max_position_embeddings": 64}  # fmt: skip
MODELS: dict[str, tuple[str, dict[str, Any], str]] = {
    "gpt2": ("GPT2Config", {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}, "bytes"),
    "llama": ("LlamaConfig", SIZES, "bytes with a start"),
    "qwen2": ("Qwen2Config", SIZES, "bytes"),
    "gemma": ("GemmaConfig", SIZES, "pieces"),
    "gpt_neox": ("GPTNeoXConfig", SIZES, "pieces"),
}
"""The configuration, the sizes and the tokenizer of each architecture."""


def pieces_tokenizer() -> Any:
    """Return a tokenizer that marks spaces as SentencePiece does, with a start token."""
    letters = [*"▁abcdefghijklmnopqrstuvwxyz", *(f"<0x{byte:02X}>" for byte in range(256))]
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("▁", "c"), ("a", "t"), ("▁c", "at")]
    tokens = ["<pad>", "</s>", "<s>", "<unk>", *letters, *("".join(pair) for pair in merges)]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    backend = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True)
    )
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    d = tokenizers.decoders
    backend.decoder = d.Sequence(
        [d.Replace("▁", " "), d.ByteFallback(), d.Fuse(), d.Strip(" ", 1, 0)]
    )
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, padding_side="left", bos_token="<s>", eos_token="</s>",
        pad_token="<pad>", unk_token="<unk>",
    )  # fmt: skip


TOKENIZERS: dict[str, Callable[[], Any]] = {
    "bytes": tiny_tokenizer,
    "bytes with a start": lambda: tiny_tokenizer(start=True),
    "pieces": pieces_tokenizer,
}


@dataclass(frozen=True)
class Engine:
    """A model of transformers and its tokenizer.

    Attributes:
        model: the model.
        tokenizer: the tokenizer.
    """

    model: Any
    tokenizer: Any

    @classmethod
    def of(cls, name: str) -> Engine:
        """Return the random model of an architecture."""
        config, sizes, tokens = MODELS[name]
        tokenizer = TOKENIZERS[tokens]()
        torch.manual_seed(0)
        special = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id")
                   for kind in ("bos", "eos", "pad")}  # fmt: skip
        options = {"vocab_size": len(tokenizer), "initializer_range": 0.4, **special}
        made = getattr(transformers, config)(**sizes, **options)
        model = transformers.AutoModelForCausalLM.from_config(made).eval()
        model.generation_config = transformers.GenerationConfig(**special)
        return cls(model, tokenizer)

    def inputs(self, prompts: Sequence[str]) -> Any:
        """Return prompts as tensors, padded on the left."""
        return self.tokenizer(list(prompts), return_tensors="pt", padding=True)


class EnginePenalty(corelm.Sampler):
    """Do as transformers' repetition penalty, which counts the start token too."""

    reads = frozenset({"tokens"})
    start: int = corelm.param(-1, "the start token; -1 for none")

    def __call__(self, logits: np.ndarray, context: corelm.Context) -> np.ndarray:
        changed = logits.copy()
        for row, text in zip(changed, context.tokens.tolist(), strict=True):
            ids = sorted({*text, self.start} - {-1})
            row[ids] = np.where(row[ids] < 0, row[ids] * PENALTY, row[ids] / PENALTY)
        return changed


def every_sampler() -> list[str]:
    """Return an expression of each sampler that has an effect without words of a vocabulary."""
    found = []
    for offer in registry().samplers():
        try:
            expression = str(example(offer.value, offer.name))
            corelm.generate(ToyModel(end=False), "the cat", sampler=expression, length=3, seed=1)
            found.append(expression)
        except (UsageError, SamplerError):
            continue
    return [expression for expression in found if "(" in expression or expression == "greedy"]


Ways = dict[str, dict[str, Any]]


def ways(sampler: corelm.Sampler, engine: Engine) -> Ways:
    """Return the options of `generate` for both ways to sample with corelm."""
    processor = as_logits_processor(sampler, seed=SEED, tokenizer=engine.tokenizer)
    loop = {"custom_generate": corelm_loop, "sampler": sampler, "seed": SEED}
    return {
        "processor": {"logits_processor": [processor]},
        "loop": {**loop, "tokenizer": engine.tokenizer},
    }


def written(engine: Engine, inputs: Any, **options: Any) -> list[list[int]]:
    """Return the tokens that transformers adds to each prompt, up to an end."""
    found = engine.model.generate(**inputs, max_new_tokens=LENGTH, **options)
    model_ends = engine.model.generation_config.eos_token_id
    ends = model_ends if isinstance(model_ends, list) else [model_ends]
    return [cut(row, ends) for row in found[:, inputs["input_ids"].shape[1] :].tolist()]


def cut(tokens: list[int], ends: Sequence[int]) -> list[int]:
    """Return the tokens before the first that ends a text."""
    return tokens[: next((i for i, token in enumerate(tokens) if token in ends), len(tokens))]


def own(engine: Engine, prompts: Sequence[str], sampler: corelm.Sampler) -> list[list[int]]:
    """Return the tokens of corelm: row i is sample i of its prompt."""
    model = TransformersModel(engine.model, engine.tokenizer)
    texts = []
    for i, prompt in enumerate(prompts):
        steps = corelm.stream(model, prompt, sampler=sampler, length=LENGTH, seed=SEED, sample=i)
        texts.append(cut([int(step.tokens[0]) for step in steps], model.vocabulary.ends))
    return texts


@dataclass
class Cell:
    """A case on an architecture.

    Attributes:
        same: texts that are the same.
        texts: all texts.
        difference: the largest difference of a probability.
        differing: the samplers with a different text or probability.
    """

    same: int = 0
    texts: int = 0
    difference: float = 0.0
    differing: tuple[str, ...] = ()

    def add(self, sampler: str, found: Any, expected: Any, inside: Any, outside: Any) -> None:
        """Count the texts of a sampler and compare the distributions that both saw."""
        common = inside.keys() & outside.keys()
        differences = [float(np.abs(inside[text] - outside[text]).max()) for text in common]
        same = sum(one == other for one, other in zip(found, expected, strict=True))
        self.same, self.texts = self.same + same, self.texts + len(expected)
        self.difference = max([self.difference, *differences])
        if same < len(expected) or max(differences, default=1.0) > LIMIT:
            self.differing += (sampler,)

    def __str__(self) -> str:
        return f"{self.difference:.0e}, {self.same} of {self.texts}"


def batch(engine: Engine, sampler: corelm.Sampler) -> tuple[Any, Ways, Any]:
    """Three prompts of different lengths in one batch."""
    return engine.inputs(PROMPTS), ways(sampler, engine), lambda: own(engine, PROMPTS, sampler)


def ends(engine: Engine, sampler: corelm.Sampler) -> tuple[Any, Ways, Any]:
    """A model with fifty ends; the sampler keeps them away at first."""
    first = engine.model.generation_config.eos_token_id
    many = corelm.sampler("min_length(n=4)") | sampler
    engine.model.generation_config.eos_token_id = [first, *range(40, 90)]
    return engine.inputs(PROMPTS), ways(many, engine), lambda: own(engine, PROMPTS, many)


def again(engine: Engine, sampler: corelm.Sampler) -> tuple[Any, Ways, Any]:
    """The second generation of one processor continues the output of its first."""
    options = ways(sampler, engine)
    longer = [prompt + " the cat" for prompt in PROMPTS]
    engine.model.generate(
        **engine.inputs(PROMPTS), max_new_tokens=2, **options["processor"], do_sample=True
    )
    return engine.inputs(longer), options, lambda: own(engine, longer, sampler)


def prompt_lookup(engine: Engine, sampler: corelm.Sampler) -> tuple[Any, Ways, Any]:
    """Guesses from the prompt are accepted or taken back."""
    prompt = ["the cat the cat the"]
    options = ways(sampler, engine)["processor"] | {"prompt_lookup_num_tokens": 3}
    return engine.inputs(prompt), {"drafts": options}, lambda: own(engine, prompt, sampler)


def settings(engine: Engine, sampler: corelm.Sampler) -> tuple[Any, Ways, Any]:
    """A repetition penalty of the model's generation_config acts before the sampler."""
    engine.model.generation_config.repetition_penalty = PENALTY
    inputs = engine.inputs([ALONE])
    first, bos = int(inputs["input_ids"][0, 0]), engine.tokenizer.bos_token_id
    penalty = EnginePenalty(start=bos if first == bos else -1)
    options = {"processor": ways(sampler, engine)["processor"]}
    return inputs, options, lambda: own(engine, [ALONE], penalty | sampler)


def replaced(engine: Engine, sampler: corelm.Sampler) -> tuple[Any, Ways, Any]:
    """corelm's loop takes the place of the repetition penalty of the model's settings."""
    engine.model.generation_config.repetition_penalty = PENALTY
    options = {"loop": ways(sampler, engine)["loop"]}
    return engine.inputs([ALONE]), options, lambda: own(engine, [ALONE], sampler)


CASES = {
    "padded batch": batch,
    "many ends": ends,
    "second generation": again,
    "prompt lookup": prompt_lookup,
    "engine's penalty first": settings,
    "engine's penalty replaced": replaced,
}


def measured(name: str, case: str, samplers: Sequence[str]) -> Cell:
    """Compare all samplers in a case on an architecture."""
    cell, engine = Cell(), Engine.of(name)
    config = engine.model.generation_config.to_dict()
    for expression in samplers:
        engine.model.generation_config = transformers.GenerationConfig(**config)
        sampler = corelm.sampler(expression) | Recorded()
        inputs, options, expected_of = CASES[case](engine, sampler)
        DISTRIBUTIONS.clear()
        expected = expected_of()
        outside = dict(DISTRIBUTIONS)
        for way in options.values():
            DISTRIBUTIONS.clear()
            try:
                found = written(engine, inputs, **way)
            except CorelmError as error:
                if "assisted decoding" in str(error):  # refused, as it must be
                    continue
                raise
            inside = {without_start(text, engine): p for text, p in DISTRIBUTIONS.items()}
            cell.add(expression, found, expected, inside, outside)
    return cell


def without_start(text: tuple[int, ...], engine: Engine) -> tuple[int, ...]:
    """Return a text as corelm's contexts hold it."""
    return text[1:] if text[:1] == (engine.tokenizer.bos_token_id,) else text


def table(cells: dict[str, dict[str, Cell]]) -> str:
    """Return the table: a row for each case, a column for each architecture."""
    names = list(next(iter(cells.values())))
    lines = [f"| case | {' | '.join(names)} |", f"|{'---|' * (len(names) + 1)}"]
    lines += [f"| {case} | {' | '.join(map(str, row.values()))} |" for case, row in cells.items()]
    return "\n".join(lines)


def main() -> int:
    """Measure and print the table; fail where something differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument(
        "--samplers", type=int, help="how many, from all over the alphabet; by default all"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("corelm").setLevel(logging.ERROR)  # the settings of the engine are named
    found = every_sampler()
    count = min(options.samplers or len(found), len(found))
    samplers = [found[i * len(found) // count] for i in range(count)]
    cells = {
        case: {name: measured(name, case, samplers) for name in options.models}
        for case in options.cases
    }
    print(f"{len(samplers)} samplers\n\n{table(cells)}")
    differing = [
        f"{case}, {name}: {', '.join(cell.differing)}"
        for case, row in cells.items()
        for name, cell in row.items()
        if cell.differing
    ]
    print("\n".join(differing), file=sys.stderr)
    return bool(differing)


if __name__ == "__main__":
    sys.exit(main())
