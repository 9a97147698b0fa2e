"""The definition of each column: its formula, its unit, and what it says in plain words.

In a formula p is the model's distribution of the next token, q the one that the sampler draws
from, and V the number of tokens that can be drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from corelm.reports.render.columns import Column

NATS, SHARE, TOKENS = "nats", "share", "tokens"


@dataclass(frozen=True)
class Definition:
    """The definition of one column.

    Attributes:
        formula: in plain letters; empty if words say it better.
        unit: of its numbers; empty if they have none.
        text: one or two sentences.
    """

    formula: str
    unit: str
    text: str


DEFINITIONS: Mapping[str, Definition] = {
    "matched to": Definition(
        "", "", "The target that the open parameter of the sampler was chosen for."
    ),
    "entropy": Definition(
        "H(q) = -Σ q ln q", NATS,
        "How random the next token is: from 0, one token is certain, to ln V, all are equally "
        "likely.",
    ),
    "bits": Definition("H(q) / ln 2", "bits", "The entropy in bits instead of nats."),
    "median": Definition(
        "", NATS,
        "The median of the entropy over positions, and its 5th and 95th percentiles below it.",
    ),
    "choices": Definition(
        "exp H(q)", TOKENS, "The number of equally likely tokens with the same entropy."
    ),
    "KL to model": Definition(
        "Σ q ln(q / p)", NATS,
        "The distance of the sampler's distribution from the model's. For a filter it is -ln of "
        "the mass kept.",
    ),
    "TV": Definition(
        "½ Σ |q - p|", SHARE,
        "Total variation: the share of draws from the two that differ if they are matched as well "
        "as possible. For a filter it is the mass that it removes.",
    ),
    "JS": Definition(
        "(KL(q, m) + KL(p, m)) / 2, m = (q + p) / 2", NATS,
        "The Jensen-Shannon divergence: from 0, the same, to ln 2 = 0.69, nothing in common.",
    ),
    "mass kept": Definition(
        "Σ p over the tokens with q > 0", SHARE,
        "The model's probability of the tokens that can still be drawn.",
    ),
    "human recall": Definition(
        "words with q > 0 / words", SHARE,
        "The share of the words that people wrote at these positions which the sampler could have "
        "drawn. A mass kept of 90% keeps 90% of them if the model is calibrated.",
    ),
    "tokens kept": Definition("tokens with q > 0", TOKENS, "How many tokens can be drawn."),
    "expected surprisal": Definition(
        "-Σ q ln p", NATS,
        "How unexpected to the model a token drawn from q is on average. For human text it is the "
        "mean -ln p of the words that people wrote.",
    ),
    "varentropy": Definition(
        "Σ q (-ln q - H(q))²", "nats squared",
        "The variance of the surprisal under q: 0 if all tokens that can be drawn are equally "
        "likely.",
    ),
    "top 1": Definition("max q", SHARE, "The probability of the likeliest token."),
    "surprisal": Definition(
        "mean of -ln p of the tokens written", NATS,
        "How unexpected to the model the texts are that were written.",
    ),
    "perplexity": Definition("exp of the surprisal", TOKENS, "The surprisal as a number."),
    "bits/byte": Definition(
        "bits of surprisal / bytes in UTF-8", "bits per byte",
        "The surprisal of the words written for each byte of them: it compares models with "
        "different vocabularies.",
    ),
    "scorer": Definition(
        "bits of surprisal / bytes in UTF-8", "bits per byte",
        "How unexpected the same texts are to a second model, the scorer.",
    ),
    "scorer surprisal": Definition(
        "mean of -ln p under the scorer", NATS,
        "How unexpected the same texts are to the scorer, per token of its own vocabulary.",
    ),
    "outside band": Definition(
        "positions outside / positions", SHARE,
        "The share of positions with a model entropy outside the human band, which reaches from "
        "the 5th to the 95th percentile of human text.",
    ),
    "drift": Definition(
        "slope of H(p) against position", "nats per 100 tokens",
        "The growth of the model's entropy along the texts: positive if they get less predictable.",
    ),
    "rep-n": Definition(
        "repeated n-grams / n-grams of a text", SHARE,
        "The share of the phrases of n tokens of a text that repeat an earlier one, mean over "
        "texts.",
    ),
    "diversity": Definition(
        "(1 - rep-2)(1 - rep-3)(1 - rep-4)", SHARE,
        "1 if nothing is repeated within a text; mean over texts.",
    ),
    "loops": Definition(
        "looping texts / texts", SHARE,
        "The share of texts that end with a phrase of two or more tokens, written three or more "
        "times (Holtzman et al. 2020).",
    ),
    "constraint": Definition(
        "-Σ ln of the mass allowed", "nats per text",
        "The cost of a mask, such as a grammar: 0 if it changes nothing; its exponential is the "
        "factor by which it makes the text more likely.",
    ),
    "model calls": Definition(
        "calls / tokens written", "calls per token",
        "The cost of a decoder: its calls of the model for each token of a text that is written "
        "alone.",
    ),
    "tokens read": Definition(
        "tokens read / tokens written", "tokens per token",
        "The cost of a decoder: the tokens that the model reads for each token written.",
    ),
    "distinct-n": Definition(
        "distinct n-grams / n-grams", SHARE,
        "The share of phrases of n tokens in all texts together that are different. It falls as "
        "texts get more or longer.",
    ),
    "self-BLEU-4": Definition(
        "BLEU-4 of each text against all others", "",
        "The likeness of the texts to each other, mean over texts: 1 if all are the same.",
    ),
    "Zipf": Definition(
        "s in frequency ~ 1 / rank^s", "",
        "Over all texts together: the larger s is, the more a few frequent words dominate.",
    ),
    "compression": Definition(
        "bytes / bytes after gzip", "",
        "Of all texts together: high if they repeat each other.",
    ),
    "[UNK]": Definition("", SHARE, "The share of tokens that stand for an unknown word."),
}  # fmt: skip
"""The definitions by the title of the column; a title that ends in a number stands under n."""


def definition(column: Column, document: Mapping[str, Any]) -> Definition:
    """Return the definition of a column; that of a plugin's metric is its meaning."""
    if metric := _offered(document).get(column.metric):
        version = f", version {metric['version']}" if metric["version"] else ""
        return Definition("", "", f"{metric['meaning']}: a metric of a plugin{version}.")
    return DEFINITIONS[term(column, document)]


def term(column: Column, document: Mapping[str, Any]) -> str:
    """Return the name under which a column is defined: rep-2 is defined as rep-n."""
    if column.title in DEFINITIONS or column.metric in _offered(document):
        return column.title
    return f"{column.title[:-1]}n"


def _offered(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The metrics of plugins in a report, by name."""
    return {each["name"]: each for each in document["header"].get("metrics", ())}
