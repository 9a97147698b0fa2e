"""Count the honest receipts that verification rejects, and the planted changes that it finds.

    corelm models export gpt2 --to transformers tiny-gpt2
    corelm models export gpt2 --to gguf gpt2.gguf
    cd plugins/corelm-replay/tests
    python honest_receipts.py --engine transformers:tiny-gpt2 --engine gguf:gpt2.gguf

Each engine draws texts under eight chains, and corelm's own gpt2 verifies them; it also draws texts
that the engine verifies. In every tenth text (`--every`) a token, one of its figures or the seed is
changed, and a forger who has the engine takes the neighbour of a token that it draws. A file of
other weights, such as half precision, is another model: `--itself` lets it verify its own texts.
`vllm:tiny-gpt2` draws in vLLM, in an environment that has it, as `.ci/engines FOLDER` makes one.
"""

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from corelm_replay import Receipt, TokenLog, receipts, verify
from corelm_replay.recording import figures_of

import corelm
from corelm.runs import NamedModel

CHAINS = (
    "stochastic",
    "temperature(t=0.7)",
    "top_p(p=0.9) | temperature(t=0.8)",
    "top_k(k=50) | top_p(p=0.95)",
    "min_p(p=0.05)",
    "repetition_penalty(penalty=1.2) | top_p(p=0.9)",
    "typical(p=0.9)",
    "mirostat(tau=5)",
)
PROMPTS = "This movie", "I have never seen a film that", "The", "An actor"
DRAWN = "tokens", "logprobs", "model_logprobs", "kept_mass", "kept_size"
KINDS = "tokens", "seed", "logprobs", "model_logprobs", "kept_mass"
CHANGE = 0.1


class InVllm:
    """corelm's samplers in vLLM, which writes a record of each token."""

    def __init__(self, folder):
        os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_LOGGING_LEVEL="ERROR")
        from vllm import LLM

        self.file = Path(tempfile.mkdtemp()) / "tokens.jsonl"
        self.llm = LLM(
            folder,
            dtype="float32",
            enforce_eager=True,
            max_model_len=64,
            gpu_memory_utilization=0.2,  # of the computer's memory, without a GPU
            max_logprobs=-1,
            additional_config={"corelm_records": str(self.file)},
        )
        self.model = NamedModel.of(VllmModel(self.llm)).model

    def receipts(self, prompt, chain, length, seed, batch):
        """Return the receipts of a batch."""
        from vllm import SamplingParams

        extra = {"corelm": chain, "corelm_seed": seed, "corelm_record": "batch"}
        params = SamplingParams(max_tokens=length, n=batch, extra_args=extra)
        self.llm.generate([prompt], params, use_tqdm=False)
        rollouts = TokenLog.read(self.file).rollouts()
        self.file.unlink()
        origin = {"model": "vllm:gpt2", "model_sha256": "", "seed": seed}
        return [Receipt.of(rollouts, row, **origin, sample=row) for row in range(batch)]


class VllmModel:
    """The network in vLLM, which a forger asks for one distribution after the other.

    vLLM reports log-probabilities and no logits, whose signs a repetition penalty reads, so this
    forges and verifies its figures only roughly.
    """

    def __init__(self, llm):
        own = corelm.load("gpt2")
        self.llm, self.vocabulary, self.context_length = llm, own.vocabulary, own.context_length

    def next_token_distribution(self, tokens):
        """Return (batch, vocabulary) probabilities after (batch, time) ids."""
        from vllm import SamplingParams

        start = self.vocabulary.start  # which the tokenizer puts before a prompt
        prompts = [{"prompt_token_ids": [start, *row]} for row in np.asarray(tokens).tolist()]
        params = SamplingParams(max_tokens=1, logprobs=-1)
        answers = self.llm.generate(prompts, params, use_tqdm=False)
        logprobs = np.full((len(prompts), len(self.vocabulary)), -np.inf)
        for row, answer in enumerate(answers):
            [entries] = answer.outputs[0].logprobs
            logprobs[row, [*entries]] = [entry.logprob for entry in entries.values()]
        return np.exp(logprobs)


class InCorelm:
    """A model that corelm loads, of its own or of another engine."""

    def __init__(self, name, dtype=None):
        self.model = corelm.load(name, dtype=dtype)

    def receipts(self, prompt, chain, length, seed, batch):
        """Return the receipts of a batch."""
        drawn = receipts(self.model, prompt, sampler=chain, length=length, n=batch, seed=seed)
        return [receipt for _, receipt in drawn]


def planted(receipt, rng):
    """Return the kind of a change, and the receipt with it: a logarithm moves by `CHANGE` nats."""
    place, kind = int(rng.integers(len(receipt.tokens))), str(rng.choice(KINDS))
    if kind == "seed":
        return kind, dataclasses.replace(receipt, seed=receipt.seed + 1)
    values = [*getattr(receipt, kind)]
    if kind == "tokens":
        others = np.setdiff1d(np.arange(4, 4000), values[place])
        values[place] = int(rng.choice(others))
    elif kind == "kept_mass":
        values[place] *= np.exp(CHANGE if values[place] < np.exp(-CHANGE) else -CHANGE)
    else:
        values[place] += CHANGE if values[place] < -CHANGE else -CHANGE
    return kind, dataclasses.replace(receipt, **{kind: values})


def neighbour(model, receipt, place, side):
    """Return the receipt of a text in which one token isn't the drawn one.

    It is the next possible token of the cumulative distribution; the others are drawn honestly, and
    all figures are those of the text.

    Args:
        model: the model that drew the receipt's text.
        receipt: the receipt.
        place: of the token.
        side: 1 for the next token, -1 for the one before it.

    Returns:
        The receipt, or None where there is no such token.
    """
    stream = corelm.RandomStream(receipt.seed, [receipt.sample], receipt.prompt_index)
    sampler, prompt = corelm.sampler(receipt.chain), np.array(receipt.prompt, dtype=np.int64)
    decoding = corelm.DecodingTask(model, prompt, sampler, stream, len(receipt.tokens)).start()
    columns = {name: [] for name in DRAWN}
    for at in range(len(receipt.tokens)):
        scores = decoding.next()
        tokens = corelm.draw(scores.logits, stream.at(at))[0]
        if at == place:
            possible = np.flatnonzero(scores.logits[0] > -np.inf)
            index = np.searchsorted(possible, tokens[0]) + side
            if not 0 <= index < len(possible):
                return None
            tokens = possible[[index]]
        figures = figures_of(scores.model_logits, scores.logits, tokens)
        values = tokens, *figures[:3], np.array([len(figures[-1][0])])
        for name, value in zip(DRAWN, values, strict=True):
            columns[name].append(value[0].item())
        if tokens[0] in model.vocabulary.ends:
            break
        decoding.advance(tokens)
    return dataclasses.replace(receipt, **columns)


def forgeries(writer, verifier, receipt, rng):
    """Return the counts of neighbours of a token, and of those found."""
    counts, place = Counter(), int(rng.integers(len(receipt.tokens)))
    for side in (1, -1):
        forged = neighbour(writer.model, receipt, place, side)
        if forged is not None:
            counts += Counter(neighbours=1, exposed=bool(verify(forged, verifier)))
    return counts


def count(writer, verifier, texts, length, every, batch):
    """Return the counts of texts, tokens, rejections, changes and changes found."""
    counts, rng = Counter(), np.random.default_rng(1)
    for seed in range(texts // (batch * len(CHAINS))):
        prompt = PROMPTS[seed % len(PROMPTS)]
        for chain in CHAINS:
            for i, receipt in enumerate(writer.receipts(prompt, chain, length, seed, batch)):
                findings = verify(receipt, verifier)
                counts += Counter(texts=1, tokens=len(receipt.tokens), rejected=bool(findings))
                if findings:
                    print(f"{chain}, seed {seed}, sample {receipt.sample}: {findings}", flush=True)
                if (seed * batch + i) % every == 0:
                    kind, changed = planted(receipt, rng)
                    is_found = bool(verify(changed, verifier))
                    counts += Counter(changes=1, found=is_found)
                    if not is_found:
                        print(f"{chain}, seed {seed}: {kind} not found in {changed}", flush=True)
                    counts += forgeries(writer, verifier, receipt, rng)
        print(f"{counts['texts']} of {texts} texts", file=sys.stderr, flush=True)
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", action="append", default=[], help="the same model elsewhere")
    parser.add_argument("--texts", type=int, default=20_000, help="drawn by each engine")
    parser.add_argument("--verified", type=int, default=2_000, help="verified by each engine")
    parser.add_argument("--length", type=int, default=8)
    parser.add_argument("--batch", type=int, default=50, help="texts that are drawn together")
    parser.add_argument("--every", type=int, default=10, help="a text of so many has forgeries")
    parser.add_argument("--dtype", help="of the engine's weights; by default the file's")
    parser.add_argument("--itself", action="store_true", help="each engine verifies its own texts")
    options = parser.parse_args()
    own = InCorelm("gpt2")
    for name in options.engine or ["gpt2"]:
        kind, _, path = name.partition(":")
        engine = InVllm(path) if kind == "vllm" else InCorelm(name, options.dtype)
        pairs = [("verifies itself", options.verified, engine, engine.model)]
        if kind == "vllm":
            pairs = [("draws", options.texts, engine, own.model)]
        elif not options.itself:
            pairs.insert(0, ("draws", options.texts, engine, own.model))
            pairs.insert(1, ("verifies", options.verified, own, engine.model))
        for verb, texts, *pair in pairs:
            start = time.process_time()
            n = count(*pair, texts, options.length, options.every, options.batch)
            rejected = f"{n['rejected']} of {n['texts']} texts, {n['tokens']} tokens, rejected"
            changes = f"{n['found']} of {n['changes']} changes found"
            changes += f", {n['exposed']} of {n['neighbours']} neighbours"
            seconds = f"{time.process_time() - start:.0f} s of a processor"
            print(f"{name} {verb}: {rejected}; {changes}; {seconds}", flush=True)


if __name__ == "__main__":
    main()
