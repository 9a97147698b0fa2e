"""The record of a text: the measurements of its tokens, and the parts that a report keeps."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np

from corelm import LanguageModel, Step, TokenRecord, Vocabulary, softmax
from corelm.abilities import FullVocabulary, can
from corelm.filters import likeliest_tokens
from corelm.runs import Endings, ForcedTokens, ModelLogits
from corelm_report.document.parts import KeptText, TokenDetails
from corelm_report.measure.contexts import nan_if_impossible
from corelm_stats.estimates import bits
from corelm_stats.intervals import Band, Sums, along_texts

DETAILED = 5
"""The number of samples of each prompt, the first ones, that have details of every token.

Details take a softmax over the vocabulary for each token, and most of the memory of a record.
"""


class TextRecord(TypedDict):
    """One text and its measurements; surprisals and entropies in nats, one for each token drawn.

    Keys:
        prompt: its prompt.
        seed: the random seed; 0 for a human text.
        sample: its index; its random numbers depend on the seed and the index alone.
        text: the text after the prompt.
        tokens: the ids, without the end token.
        end: the id of the end token if one was drawn.
        finish_reason: why it ended, `end` or `length`.
        unknown: the number of [UNK] tokens.
        bytes: the number of UTF-8 bytes that the tokens with a surprisal add to the text.
        words: the text that each token drawn added; none for the end token.
        surprisal: under the model's own distribution.
        sampler_surprisal: under the distribution drawn from.
        entropy: of the distribution drawn from.
        model_entropy: of the model's own distribution.
        constraint_cost: the cost of the masks, as in a `Generation`.
        model_calls: the calls of the model that the text took; None if they were not counted.
        tokens_read: the tokens that the model read for it; None if they were not counted.
        details: of each token, for the first samples; empty for the others.
    """

    prompt: str
    seed: int
    sample: int
    text: str
    tokens: list[int]
    end: int | None
    finish_reason: str
    unknown: int
    bytes: int
    words: list[str]
    surprisal: Sequence[float]
    sampler_surprisal: Sequence[float]
    entropy: Sequence[float]
    model_entropy: Sequence[float]
    constraint_cost: float | None
    model_calls: int | None
    tokens_read: int | None
    details: list[TokenDetails]


def without_details(record: TextRecord) -> TextRecord:
    """Return a record without details, for a text that isn't shown: a fraction of the memory.

    Example:
        >>> from corelm_report.measure.generated_texts import draw
        >>> from corelm.testing import ToyModel
        >>> from corelm.runs import Endings, Strategy, Texts
        >>> texts = Texts("the", Strategy.of("greedy"), length=3, n=1, seed=1, endings=Endings())
        >>> [record] = draw(ToyModel(), texts, [0])
        >>> without_details(record)["words"], without_details(record)["entropy"]
        ([], array('d', [0.0, 0.0, 0.0]))
    """
    small = record.copy()
    small["words"], small["sampler_surprisal"], small["details"] = [], [], []
    for name in ("surprisal", "entropy", "model_entropy"):
        small[name] = array("d", record[name])
    return small


def without_end(
    record: TextRecord, name: Literal["surprisal", "entropy", "model_entropy"]
) -> Sequence[float]:
    """Return the values of a text's tokens without the value of its end.

    Human text has no end token, so figures that compare with it leave it out.
    """
    values = record[name]
    return values if record["end"] is None else values[:-1]


def are_copies(records: Sequence[TextRecord]) -> bool:
    """Return True if all texts of each prompt are the same, and there are several of one."""
    texts = {(record["prompt"], *record["tokens"]) for record in records}
    prompts = {record["prompt"] for record in records}
    return len(texts) == len(prompts) < len(records)


ALTERNATIVES = 5


def details(
    step: Step, row: int, drawn: TokenRecord, past: list[int], vocabulary: Vocabulary
) -> TokenDetails:
    """Return the details of the token drawn in one row of a step.

    Args:
        step: the step.
        row: the row.
        drawn: the token of this row, with its measurements.
        past: the ids before it.
        vocabulary: the vocabulary of the ids.
    """
    logits = step.model_logits[row]
    p, text_of = softmax(logits.astype(np.float64)), FullVocabulary(vocabulary).text_after(past)
    return {
        "token": Endings.END if drawn.token in vocabulary.ends else drawn.text,
        "rank": int(step.model_rank[row]),
        "p": float(p[drawn.token]),
        "q": min(math.exp(-drawn.surprisal), 1.0),  # rounding may take it above 1
        "entropy": drawn.entropy,
        "alternatives": [
            [text_of(i), float(p[i])] for i in likeliest_tokens(logits, ALTERNATIVES).tolist()
        ],
    }


DIGITS = 7
"""The significant digits of a token's numbers; the model's logits have no more."""
IN_NATS = ("surprisal", "sampler_surprisal", "entropy", "model_entropy")


def kept_texts(
    records: Sequence[TextRecord],
    figures_of: Callable[[int], dict[str, float | None]],
    keeps: Callable[[str, int, int], bool] = lambda *_: True,
) -> list[KeptText]:
    """Return the texts to keep, with figures of texts and tokens.

    The first samples have the details of each token; every text has a list for each figure of
    tokens, with their ids and words.

    Args:
        records: the records of all texts of one sampler.
        figures_of: returns the figures of a text, by its index.
        keeps: returns True for the prompt, the seed and the sample of a text to keep.

    Example:
        >>> from corelm_report.measure.generated_texts import draw
        >>> from corelm.testing import ToyModel
        >>> from corelm.runs import Endings, Strategy, Texts
        >>> texts = Texts("the", Strategy.of("greedy"), length=3, n=1, seed=1, endings=Endings())
        >>> [text] = kept_texts(draw(ToyModel(), texts, [0]), lambda at: {})
        >>> text.tokens[0]["token"], text.tokens[0]["rank"], text.tokens[0]["q"]
        (' cat', 1, 1.0)
        >>> text.by_token["text"], text.by_token["surprisal"]
        ([' cat', ' sat', ' on'], [0.8639649, 1.066351, 0.6690496])
    """
    return [
        KeptText(
            prompt=record["prompt"],
            seed=record["seed"],
            sample=record["sample"],
            text=record["text"],
            finish_reason=record["finish_reason"],
            tokens=record["details"],
            figures=figures_of(at),
            by_token=_by_token(record),
        )
        for at, record in enumerate(records)
        if keeps(record["prompt"], record["seed"], record["sample"])
    ]


def _by_token(record: TextRecord) -> dict[str, list[Any]]:
    """Return a list for each figure; a dict for each token would be ten times as long."""
    end = [] if record["end"] is None else [record["end"]]
    columns: dict[str, list[Any]] = {"token": [*record["tokens"], *end], "text": record["words"]}
    return columns | {
        name: [float(f"{value:.{DIGITS}g}") for value in record[name]]  # type: ignore[literal-required]
        for name in IN_NATS
    }


def ratios(
    records: Sequence[TextRecord], human_band: Band | None, scores: Sequence[Score]
) -> dict[str, Sums]:
    """Return the sums for figures that are ratios of two sums over texts.

    Args:
        records: the records of the texts.
        human_band: the ends of the human band; None if they are unknown.
        scores: their scores under the second scorer, if there is one.
    """
    surprisals = [without_end(record, "surprisal") for record in records]
    entropies = [without_end(record, "model_entropy") for record in records]
    sums = along_texts(surprisals, entropies, human_band)
    drawn = [float(len(record["surprisal"])) for record in records]
    nats = [math.fsum(each) for each in surprisals]
    sums |= {
        "bits_per_byte": ([*map(bits, nats)], [record["bytes"] for record in records]),
        "unknown": ([record["unknown"] for record in records], sums["surprisal"][1]),
        "constraint_cost": _where_known(records, "constraint_cost", [1.0] * len(records)),
        "model_calls": _where_known(records, "model_calls", drawn),
        "tokens_read": _where_known(records, "tokens_read", drawn),
    }
    if scores:
        scored = [each["nats"] for each in scores]
        sums["scorer_surprisal"] = scored, [each["tokens"] for each in scores]
        sums["scorer_bits_per_byte"] = [*map(bits, scored)], [each["bytes"] for each in scores]
    return sums


def _where_known(records: Sequence[TextRecord], name: str, per: Sequence[float]) -> Sums:
    """Return each text's value and weight, both 0 where it has none, for a weighted mean."""
    values: list[float | None] = [record[name] for record in records]  # type: ignore[literal-required]
    present = [value is not None for value in values]
    return (
        [value or 0.0 for value in values],
        [each if there else 0.0 for each, there in zip(per, present, strict=True)],
    )


class Score(TypedDict):
    """The score of one text.

    Keys:
        nats: the sum of the surprisals of its tokens.
        tokens: the number of tokens, without those that the model cannot draw.
        bytes: the bytes that these tokens add to the text, in UTF-8.
    """

    nats: float
    tokens: int
    bytes: int


def score(model: LanguageModel, texts: Sequence[tuple[str, str]]) -> list[Score]:
    """Return the score of each text under a model, which may have its own vocabulary.

    Args:
        model: the scorer.
        texts: for each text its prompt, which is read but not scored, and the text.

    Raises:
        ModelOutputError: the model's logits are not a distribution.

    Example:
        >>> from corelm.testing import ToyModel
        >>> [scores] = score(ToyModel(), [("the", " cat sat")])
        >>> round(scores["nats"], 3), scores["tokens"], scores["bytes"]
        (1.93, 2, 8)
    """
    vocabulary = model.vocabulary
    pairs = [ForcedTokens.split(vocabulary, prompt, text) for prompt, text in texts]
    nats = [np.full(len(own), np.nan) for _, own in pairs]
    ids, lengths = [before + own for before, own in pairs], [len(before) for before, _ in pairs]
    for some in ForcedTokens.of(model, ids, lengths):
        # Leave out a token that the scorer can't draw, as its surprisal is infinite.
        surprisals = nan_if_impossible(ModelLogits.surprisals(some.logits, some.tokens))
        for i, value in zip(some.texts, surprisals, strict=True):
            nats[i][some.place] = value
    scores = []
    for (before, own), each in zip(pairs, nats, strict=True):
        possible = ~np.isnan(each)
        drawable = [token for token, there in zip(own, possible.tolist(), strict=True) if there]
        size = count_bytes(vocabulary, before, drawable) if own else 0
        scores.append(Score(nats=math.fsum(each[possible]), tokens=len(drawable), bytes=size))
    return scores


def count_bytes(vocabulary: Vocabulary, before: Sequence[int], ids: Sequence[int]) -> int:
    """Return the number of UTF-8 bytes that ids add to the text of preceding ids.

    Example:
        >>> from corelm.testing import ToyModel
        >>> vocabulary = ToyModel().vocabulary
        >>> count_bytes(vocabulary, vocabulary.encode("the"), vocabulary.encode("cat sat"))
        8
    """
    if can(vocabulary, "token_bytes"):  # a token may end inside a character
        return sum(len(vocabulary.token_bytes(token)) for token in ids)
    prompt, whole = vocabulary.decode(before), vocabulary.decode([*before, *ids])
    return len(whole[len(prompt) :].encode("utf-8", "surrogatepass"))


@dataclass(frozen=True)
class ScoreTexts:
    """Score some texts under the model, which is the second scorer here.

    Attributes:
        stage: the stage of the report.
        entry: the index of their entry.
        first: the index of the first text.
        texts: the prompt of each text, and the text.
    """

    stage: str
    entry: int
    first: int
    texts: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """The name in the journal."""
        return f"{self.stage} {self.entry} {self.first}"

    def __call__(self, model: LanguageModel) -> list[Score]:
        return score(model, self.texts)


def by_position(values: Mapping[str, Sequence[Sequence[float]]]) -> list[dict[str, Any]]:
    """Return the means over texts at the first position, at the second, and so on.

    Args:
        values: by name, the values of each text; the same number under each name.

    Returns:
        For each position: its index, the number `n` of texts that reach it, and the mean for each
        name.

    Example:
        >>> by_position({"entropy": [[1.0, 2.0], [3.0]]})
        [{'position': 0, 'n': 2, 'entropy': 2.0}, {'position': 1, 'n': 1, 'entropy': 2.0}]
    """
    longest = max((len(text) for texts in values.values() for text in texts), default=0)
    columns = [
        {name: [text[i] for text in texts if len(text) > i] for name, texts in values.items()}
        for i in range(longest)
    ]
    return [
        {"position": i, "n": len(next(iter(column.values())))}
        | {name: float(np.mean(some)) for name, some in column.items()}
        for i, column in enumerate(columns)
    ]
