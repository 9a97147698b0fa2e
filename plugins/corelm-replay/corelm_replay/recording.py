"""Rollouts with the figures of each drawn token, drawn by corelm or by other engines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import corelm
from corelm import RandomStream
from corelm.abilities import FullVocabulary
from corelm.errors import UsageError
from corelm.runs import Strategy, Texts
from corelm_replay.documents import are_ids, are_numbers, read_document
from corelm_replay.fixed_sets import token_logprobs
from corelm_replay.kept_sets import KeptSets
from corelm_replay.layout import Array, Layout, as_numpy
from corelm_replay.logprobs import Replay

FORMAT = "corelm.rollouts/1"
FIGURES = ("logprobs", "model_logprobs", "kept_mass", "kept_size", "entropy", "model_entropy")
COLUMNS = (*FIGURES, "sampling_mask")
"""The figures of each token, and the set that it was drawn from."""


@dataclass(frozen=True, eq=False)
class Rollouts:
    """Drawn texts and the figures of each token, padded with 0 on the right.

    Attributes:
        chain: the sampler, as an expression.
        tokens: (batch, length) ids, prompts on the left of column `prompt_length`.
        mask: (batch, length) 0 for padding.
        prompt_length: columns of `tokens` that are prompt.
        logprobs: (batch, time) of the drawn token under the chain: what the draw used.
        model_logprobs: (batch, time) the same under the model's own distribution.
        kept_mass: (batch, time) the model's probability of the tokens that could be drawn.
        kept_size: (batch, time) the number of these tokens.
        entropy, model_entropy: (batch, time) nats, of the distribution drawn from and of the
            model's.
        kept: the tokens that could be drawn; an empty set where nothing was removed.
        texts: the text of each row; empty if unknown.
        seed: the seed of the draws; None if another engine drew.
    """

    chain: str
    tokens: NDArray[np.int64]
    mask: NDArray[np.int64]
    prompt_length: int
    logprobs: NDArray[np.float64]
    model_logprobs: NDArray[np.float64]
    kept_mass: NDArray[np.float64]
    kept_size: NDArray[np.float64]
    entropy: NDArray[np.float64]
    model_entropy: NDArray[np.float64]
    kept: KeptSets
    texts: list[str] = field(default_factory=list)
    seed: int | None = None

    @property
    def drawn(self) -> NDArray[np.bool_]:
        """(batch, time) True where a token was drawn."""
        return np.asarray(self.mask[:, self.prompt_length :] != 0)

    def ids(self, row: int) -> tuple[list[int], list[int]]:
        """Return the ids of a prompt, and the ids drawn after it."""
        before, after = self.tokens[row], self.mask[row] != 0
        p = self.prompt_length
        return before[:p][after[:p]].tolist(), before[p:][after[p:]].tolist()

    def to_json(self) -> str:
        """Return the rollouts as one JSON document."""
        rows = []
        for row in range(len(self.tokens)):
            prompt, drawn = self.ids(row)
            sets = [self.kept.ids(row, at).tolist() for at in range(len(drawn))]
            figures = {name: getattr(self, name)[row, : len(drawn)].tolist() for name in FIGURES}
            # JSON has no infinity: a token that the chain could not have drawn gets null.
            figures["logprobs"] = [x if x > -np.inf else None for x in figures["logprobs"]]
            rows.append({"prompt": prompt, "tokens": drawn, "sampling_mask": sets} | figures)
        whole = {"format": FORMAT, "chain": self.chain, "seed": self.seed, "rollouts": rows}
        return json.dumps(whole, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Rollouts:
        """Return the rollouts of a document of `to_json`.

        Raises:
            UsageError: another kind of document.
        """
        whole = read_document(text, FORMAT)
        rows = whole.get("rollouts")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise UsageError("not rollouts of corelm replay: expected a list of objects")
        if not isinstance(whole.get("chain"), str) or not are_ids(
            [whole.get("seed") or 0], below=np.inf
        ):
            raise UsageError("not rollouts of corelm replay: expected a chain and a seed")
        for number, row in enumerate(rows):
            if not is_rollout(row):
                raise UsageError(f"not rollouts of corelm replay: the ids, figures or lengths of "
                                 f"rollout {number} are impossible")  # fmt: skip
        texts = [(row["prompt"], row["tokens"]) for row in rows]
        entries = [[*zip(*(row[name] for name in COLUMNS), strict=True)] for row in rows]
        return cls.of(whole["chain"], texts, entries, seed=whole.get("seed"))

    @classmethod
    def of(
        cls, chain: str, texts: Sequence[tuple[Sequence[int], Sequence[int]]],
        entries: Sequence[Sequence[Sequence[Any]]], **more: Any,
    ) -> Rollouts:  # fmt: skip
        """Return rollouts of lists: prompts move to the right of their columns, texts to the left.

        Args:
            chain: the sampler, as an expression.
            texts: pairs of prompt and drawn ids.
            entries: of each token of each text, the values of `COLUMNS`.
            more: other fields.
        """
        first = max((len(prompt) for prompt, _ in texts), default=0)
        time = max((len(drawn) for _, drawn in texts), default=0)
        tokens = np.zeros((len(texts), first + time), np.int64)
        mask = np.zeros(tokens.shape, np.int64)
        for row, (prompt, drawn) in enumerate(texts):
            span = slice(first - len(prompt), first + len(drawn))
            tokens[row, span], mask[row, span] = [*prompt, *drawn], 1
        padded: dict[str, Any] = {name: np.zeros((len(texts), time)) for name in FIGURES}
        for row, values in enumerate(entries):
            for name, numbers in zip(FIGURES, zip(*values, strict=True), strict=False):
                padded[name][row, : len(values)] = [-np.inf if x is None else x for x in numbers]
        kept = KeptSets.of([[value[-1] for value in values] for values in entries])
        return cls(chain, tokens, mask, first, **padded, kept=kept, **more)


ROUNDING = 1e-6
"""Nats by which rounding may move a figure beyond 0."""
MOST = float(np.finfo(np.float32).max)
RANGES = {
    "logprobs": (-MOST, ROUNDING), "model_logprobs": (-MOST, ROUNDING),
    "kept_mass": (0.0, 1.0), "kept_size": (0.0, MOST),
    "entropy": (-ROUNDING, MOST), "model_entropy": (-ROUNDING, MOST),
}  # fmt: skip
"""The least and the largest value of each figure."""


def is_rollout(row: Mapping[str, Any]) -> bool:
    """Return True if the fields of a rollout are those of as many tokens as it has.

    A token was drawn from its set, whose size is recorded, unless it has no log-probability.
    """
    tokens, sets = row.get("tokens"), row.get("sampling_mask")
    if not isinstance(tokens, list) or not isinstance(sets, list):
        return False
    columns = {name: row.get(name) for name in FIGURES}
    # JSON has no infinity: a token that the chain could not have drawn has null.
    if isinstance(columns["logprobs"], list):
        columns["logprobs"] = [x for x in columns["logprobs"] if x is not None]
    return (
        all(map(are_ids, (row.get("prompt"), tokens, *sets)))
        and all(are_numbers(columns[name], *RANGES[name]) for name in FIGURES)
        and {len(each) for each in (sets, *(row[name] for name in FIGURES))} == {len(tokens)}
        and all(
            not ids or (len(ids) == size and (token in ids) == (logprob is not None))
            for ids, size, token, logprob in zip(
                sets, row["kept_size"], tokens, row["logprobs"], strict=True
            )
        )
    )


def record(
    model: Any, prompts: Sequence[Any], *, sampler: corelm.Sampler | str, length: int = 50,
    n: int = 1, seed: int | None = None,
) -> Rollouts:  # fmt: skip
    """Draw texts, and record each token's log-probabilities and the set that it was drawn from.

    Args:
        model: a corelm model, or its name; engines' models are `transformers:PATH`, `gguf:FILE`.
        prompts: the prompts, texts or lists of ids.
        sampler: a sampler, a registered name or an expression.
        length: the largest number of tokens of a text.
        n: the number of texts of each prompt.
        seed: decides the random numbers; by default a fresh one.

    Returns:
        `Rollouts`: the texts of the first prompt, then of the next.

    Example:
        >>> from corelm.testing import ToyModel
        >>> rollouts = record(ToyModel(), ["the"], sampler="top_k(k=2)", length=3, seed=1)
        >>> rollouts.kept_size.tolist()
        [[2.0, 2.0, 2.0]]
    """
    model = corelm.load(model) if isinstance(model, str) else model
    seed, sampler = RandomStream.fresh_seed() if seed is None else seed, corelm.sampler(sampler)
    texts: list[Any] = []
    rows: list[Any] = []
    for index, prompt in enumerate(prompts):
        entries: list[Any] = [[] for _ in range(n)]
        ids = list(FullVocabulary(model.vocabulary).prompt_ids(prompt))
        written = Texts("", Strategy(sampler), length, n, seed, prompt_index=index, ids=ids)
        for step in written.steps(model, range(n)):
            figures = figures_of(step.model_logits, step.logits, step.tokens)
            for at, sample in enumerate(step.samples.tolist()):
                entries[sample].append((int(step.tokens[at]), *(each[at] for each in figures)))
        texts += [(ids, [token for token, *_ in one]) for one in entries]
        rows += [[values for _, *values in one] for one in entries]
    rollouts = Rollouts.of(str(sampler), texts, rows, seed=seed)
    decode = model.vocabulary.decode
    return replace(rollouts, texts=[decode(drawn) for _, drawn in texts])


def record_logits(
    chain: corelm.Sampler | str, logits: Array, tokens: Array, *, prompt_length: Array,
    mask: Array = None, vocabulary: Any = None,
) -> Rollouts:  # fmt: skip
    """Record tokens that another engine drew under a chain, from its raw logits.

    With transformers, `generate(..., output_logits=True, return_dict_in_generate=True)` returns
    them: `torch.stack(output.logits, 1)`. With a trainer's logits, the log-probabilities are the
        trainer's.

    Args:
        chain: the sampler that drew, a registered name or an expression.
        logits, tokens, prompt_length, mask, vocabulary: as for `chain_logprobs`; `logits` belong to
            the tokens after `prompt_length`.

    Returns:
        `Rollouts`, in which prompts are padded on the left.
    """
    layout = Layout(logits.shape, tokens, prompt_length, mask, vocabulary)
    work = Replay(corelm.sampler(chain), layout)
    batch = logits.shape[0]
    entries: list[dict[int, Any]] = [{} for _ in range(batch)]
    for block in work.blocks():
        rows = work.rows(logits, block)
        decided = work.decide(rows, block)
        figures = figures_of(as_numpy(rows), as_numpy(decided), block.tokens)
        for at, (row, place) in enumerate(zip(block.rows, block.places, strict=True)):
            entries[row][int(place)] = [each[at] for each in figures]
    texts = [
        (layout.packed[row, :prompt].tolist(), layout.packed[row, prompt:length].tolist())
        for row, (prompt, length) in enumerate(zip(layout.prompts, layout.lengths, strict=True))
    ]
    ordered = [[one[place] for place in sorted(one)] for one in entries]
    return Rollouts.of(str(work.chain), texts, ordered)


def figures_of(
    model_logits: NDArray[Any], logits: NDArray[Any], tokens: NDArray[np.int64]
) -> tuple[Any, ...]:
    """Return the figures of `FIGURES` for one token of each row, and the ids kept there.

    Args:
        model_logits, logits: (n, vocabulary) of NumPy, the model's and the chain's.
        tokens: (n,) ids.

    Returns:
        Six arrays (n,), and a list of n arrays of ids; empty where the chain removed nothing.
    """
    kept, most = logits > -np.inf, (model_logits > -np.inf).sum(axis=1)
    model, sizes = corelm.softmax(model_logits), kept.sum(axis=1)
    mass = np.where(kept, model, 0).sum(axis=1, dtype=np.float64)
    nothing = np.empty(0, np.int64)
    ids = [
        np.flatnonzero(row) if size < whole else nothing
        for row, size, whole in zip(kept, sizes, most, strict=True)
    ]
    return (
        token_logprobs(logits, tokens),
        token_logprobs(model_logits, tokens),
        np.where(sizes == most, 1.0, np.minimum(mass, 1.0)),
        sizes,
        corelm.entropy(corelm.softmax(logits)),
        corelm.entropy(model),
        ids,
    )
