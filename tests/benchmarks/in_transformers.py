"""Time the sampling of a token in transformers: corelm's chain and the engine's own processors.

    pip install -e ".[bench]" ./plugins/corelm-transformers
    python tests/benchmarks/in_transformers.py [--seconds 1] [--threads 1]

A step is everything that `generate` does between the model's logits and the token: the list of
processors, then softmax and multinomial, or argmax where corelm draws. The engine's list is the one
that it creates from the same settings. The logits fall as a power of the rank, roughly as in
language models; the context has 512 tokens. The three take turns in one run, and the median of each
is reported in microseconds for the whole batch, with the ratio: above 1 corelm is faster.
"""

from __future__ import annotations

import argparse
import itertools
import logging

import torch
from corelm_transformers import as_logits_processor, to_generation_config
from timing import Call, Input, head, in_turns, line, place
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel, LogitsProcessorList

VOCABULARIES = (50_257, 128_000)
BATCHES = (1, 16)
CHAINS = (
    "top_k(k=50)",  # what generate(do_sample=True) does by default
    "temperature(t=0.7) | top_p(p=0.9)",
    "temperature(t=0.7) | top_k(k=40) | top_p(p=0.95) | min_p(p=0.05)",
    "repetition_penalty(penalty=1.1) | temperature(t=0.7) | typical(p=0.9)",
)


def engine() -> GPT2LMHeadModel:
    """Return a model that makes lists of processors; it is never run."""
    return GPT2LMHeadModel(GPT2Config(n_embd=4, n_layer=1, n_head=1))


def step(processors: LogitsProcessorList, data: Input, draws: bool) -> Call:
    """Return the sampling of one token, as `_sample` of transformers does it."""
    tokens = torch.from_numpy(data.context.tokens.copy())
    logits = torch.from_numpy(data.logits.copy())

    def sample() -> torch.Tensor:
        scores = processors(tokens, logits)
        if draws:  # one token has all of the probability
            return torch.argmax(scores, dim=-1)
        return torch.multinomial(torch.softmax(scores, dim=-1), num_samples=1)

    return sample


def calls(chain: str, data: Input) -> list[Call]:
    """Return a step of the engine, of corelm's distribution, and of corelm's draw."""
    config: GenerationConfig = to_generation_config(chain)
    if config.min_p == 0:  # off, but the engine would compute it
        config.min_p = None
    theirs = engine()._get_logits_processor(config, input_ids_seq_length=1, device="cpu")
    filters, draws = (as_logits_processor(chain, seed=seed) for seed in (None, 0))
    return [
        step(theirs, data, draws=False),
        step(LogitsProcessorList([filters]), data, draws=False),
        step(LogitsProcessorList([draws]), data, draws=True),
    ]


def main() -> None:
    """Print the table."""
    logging.getLogger("corelm").setLevel(logging.ERROR)  # the rows aren't padded
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each call")
    parser.add_argument("--threads", type=int, help="of torch; as many as it takes by itself")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(place("torch", "transformers"), end="\n\n")
    titles = ["chain", "vocabulary", "batch", "transformers", "corelm's logits", "corelm draws"]
    print(head(titles))
    for vocabulary, batch in itertools.product(VOCABULARIES, BATCHES):
        data = Input.of(vocabulary, batch)
        for chain in CHAINS:
            own, *others = in_turns(calls(chain, data), options.seconds)
            ratios = [f"{ours:,.0f} = **{own / ours:.1f}**" for ours in others]
            print(
                line([f"`{chain}`", f"{vocabulary:,}", batch, f"{own:,.0f}", *ratios]), flush=True
            )


if __name__ == "__main__":
    main()
