"""Declare every figure of a report once: its name, formula, unit, column and source.

The schema of the document, its tables and definitions, matching, the citations and the tables of
the reference page follow from `FIGURES`. To add a figure, compute it under its name and declare it
here. Figures on contexts are fields of the heart's `Divergence`; those of texts are in
`corelm_stats/text_figures.py`, or in `measure/text_records.py` if they need more than the tokens.

Plugins add figures of texts through the hook `corelm_metrics`; these are declared automatically.

In a formula p is the model's distribution of the next token, q the one that the sampler draws
from, and V the number of tokens that can be drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from corelm_stats.intervals import LOGIT, RECIPROCAL, SYMMETRIC, FigureScale

Form = Literal["bits", "choices", "count", "number", "per hundred", "share"]
"""The name of a number format."""
HUMAN = "human"
HUMAN_HALVES = "human against human"
"""The name of the entry that compares one half of the human texts with the other."""
TEACHER_FORCED, GENERATED = VIEWS = ("teacher_forced", "generated_texts")
"""The keys of the two views: the same contexts for every sampler, and its own texts."""
ENTROPY, DIVERGENCE = ("entropy", "divergence")
LIKELIHOOD, VARIETY = ("likelihood_and_repetition", "variety")
TABLES = (ENTROPY, DIVERGENCE, LIKELIHOOD, VARIETY)
"""The tables of the page; the first two are teacher-forced, the others are of generated texts."""
NATS, SHARE, TOKENS = "nats", "share", "tokens"
SET_SIZE, TEXT_LENGTH = "set size", "text length"
MEAN, EXPECTED, SURPRISAL = "entropy.mean", "expected_surprisal", "surprisal"
"""The figures that statements are about: randomness, and likelihood in both views."""
SHARES = (0.0, 1.0)
"""The least and the largest share."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """The declaration of one figure.

    Attributes:
        name: its key in a view of the document, and in CSV, data frames and `--fail-if`.
        view: the view that has it.
        unit: its unit; empty if it has none.
        formula: its formula in plain letters; empty if words say it better.
        text: its meaning, in one or two sentences.
        note: further remarks, for the reference page alone.
        required: every document of this schema has the key; null if it was not measured.
        derived: it has no key of its own in the view, but follows from another figure.
        depends_on: `SET_SIZE` or `TEXT_LENGTH` if it is comparable only at an equal number of
            texts, or an equal length.
        matched: its name in a sentence about matching; empty if nothing can be matched to it.
        source: the function whose docstring names the paper, as `pkgutil.resolve_name` takes it.
        table: the table of the page that has its column; empty if it has none.
        title: the heading of the column.
        term: the name under which the page defines it, if several columns share a definition.
        form: the format of its numbers.
        shows: the figure that the column formats, if it is another one.
        between: two figures that the page shows instead of the 95 % interval.
        human: the human figure that it is compared with, if that has another name.
        compared: True if the page shows its difference; False if another figure implies it.
        meaning: its definition in a few words; only columns of the overview need one.
        priority: the place of its column in the overview if there isn't room for all, 1 for the
            most important; 0 leaves it out.
        difference: the priority of the column of its difference from human text, or from the
            sampler that the report compares with.
        scale: the scale on which its error is more symmetric; by default the log odds for a share,
            otherwise the figure itself.
    """

    name: str
    view: str
    unit: str = ""
    formula: str = ""
    text: str = ""
    note: str = ""
    required: bool = False
    derived: bool = False
    depends_on: str = ""
    matched: str = ""
    source: str = ""
    table: str = ""
    title: str = ""
    term: str = ""
    form: Form = "number"
    shows: str = ""
    between: tuple[str, str] | None = None
    human: str = ""
    compared: bool = True
    meaning: str = ""
    priority: int = 0
    difference: int = 0
    scale: FigureScale | None = None

    @property
    def limits(self) -> tuple[float, float] | None:
        """The least and the largest value, where its interval ends; None if there are none."""
        return SHARES if self.unit == SHARE or self.scale is LOGIT else None

    @property
    def looked_up(self) -> str:
        """The name by which its column looks up the value."""
        return self.shows or self.name

    @property
    def axis(self) -> str:
        """The title of a plot's axis."""
        return f"{self.title} ({NATS})" if self.unit == NATS else self.title


_DISTINCT = [
    Figure(
        name=f"distinct_{n}", view=GENERATED, unit=SHARE, table=VARIETY, title=f"distinct-{n}",
        term="distinct-n", form="share", required=True, depends_on=SET_SIZE,
        formula="distinct n-grams / n-grams",
        text="The share of phrases of n tokens in all texts together that are different. It falls "
        "as texts get more or longer.",
        meaning="the share of pairs of tokens that are different" if n == 2 else "",
        priority=7 if n == 2 else 0,
        source="corelm_stats.text_figures:distinct",
    )
    for n in (1, 2, 3)
]  # fmt: skip
_REPETITION = [
    Figure(
        name=f"rep_{n}", view=GENERATED, unit=SHARE, table=LIKELIHOOD, title=f"rep-{n}",
        term="rep-n", form="share", required=True, depends_on=TEXT_LENGTH,
        formula="repeated n-grams / n-grams of a text",
        text="The share of the phrases of n tokens of a text that repeat an earlier one, mean over "
        "texts.",
        meaning="the share of phrases of four tokens that repeat an earlier one" if n == 4 else "",
        priority=6 if n == 4 else 0,
        source="corelm_stats.text_figures:repetition",
    )
    for n in (2, 3, 4)
]  # fmt: skip

FIGURES = (
    Figure(
        name="entropy", view=TEACHER_FORCED, unit=NATS, table=ENTROPY, title="entropy",
        required=True, matched="mean entropy", priority=1, difference=2,
        formula="H(q) = -Σ q ln q",
        text="How random the next token is: from 0, one token is certain, to ln V, all are equally "
        "likely.",
        note="An object with the `mean`, its interval `ci95`, and the `median` and the percentiles "
        "`p05` and `p95` over positions.",
        meaning="how random the next token is, in nats (1 nat = 1.44 bits)",
        source="corelm.numerics.distributions:entropy",
    ),
    Figure(
        name="bits", view=TEACHER_FORCED, unit="bits", table=ENTROPY, title="bits",
        derived=True, shows="entropy", form="bits", compared=False,
        formula="H(q) / ln 2", text="The entropy in bits instead of nats.",
    ),
    Figure(
        name="entropy.median", view=TEACHER_FORCED, unit=NATS, table=ENTROPY, title="median",
        derived=True, compared=False, between=("entropy.p05", "entropy.p95"),
        text="The median of the entropy over positions, and its 5th and 95th percentiles.",
    ),
    Figure(
        name="effective_choices", view=TEACHER_FORCED, unit=TOKENS, table=ENTROPY,
        title="choices", required=True, shows="entropy", form="choices", compared=False,
        formula="exp H(q)", text="The number of equally likely tokens with the same entropy.",
        note="H(q) is the mean over positions.",
    ),
    Figure(
        name="kl_to_model", view=TEACHER_FORCED, unit=NATS, table=DIVERGENCE, title="KL to model",
        required=True, matched="mean KL divergence from the model", compared=False,
        formula="Σ q ln(q / p)",
        text="The distance of the sampler's distribution from the model's. For a filter it is -ln "
        "of the mass kept.",
        source="corelm.questions.divergences:divergence",
    ),
    Figure(
        name="total_variation", view=TEACHER_FORCED, unit=SHARE, table=DIVERGENCE, title="TV",
        matched="mean total variation", form="share", compared=False,
        formula="½ Σ |q - p|",
        text="Total variation: the share of draws from the two that differ if they are matched as "
        "well as possible. For a filter it is the mass that it removes.",
    ),
    Figure(
        name="jensen_shannon", view=TEACHER_FORCED, unit=NATS, table=DIVERGENCE, title="JS",
        matched="mean Jensen-Shannon divergence", compared=False,
        formula="(KL(q, m) + KL(p, m)) / 2, m = (q + p) / 2",
        text="The Jensen-Shannon divergence: from 0, the same, to ln 2 = 0.69, nothing in common.",
        source="corelm.questions.divergences:jensen_shannon",
    ),
    Figure(
        name="mass_kept", view=TEACHER_FORCED, unit=SHARE, table=DIVERGENCE, title="mass kept",
        required=True, matched="mean mass kept", form="share", compared=False, priority=8,
        formula="Σ p over the tokens with q > 0",
        text="The model's probability of the tokens that can still be drawn.",
        meaning="the model's probability of the tokens that can still be drawn",
    ),
    Figure(
        name="human_recall", view=TEACHER_FORCED, unit=SHARE, table=DIVERGENCE,
        title="human recall",
        matched="human recall", form="share", compared=False,
        formula="words with q > 0 / words",
        text="The share of the human words at these positions that the sampler could have drawn. A "
        "mass kept of 90% keeps 90% of them if the model is calibrated.",
        note="Only if the contexts are human text; words that the model cannot draw are left out.",
        source="corelm_report.measure.entries:human_recall",
    ),
    Figure(
        name="human_surprisal", view=TEACHER_FORCED, unit=NATS, matched="human surprisal",
        formula="mean of -ln q of the human words with q > 0",
        text="How unexpected human text is to the sampler, where it could have drawn it.",
        source="corelm_report.measure.entries:human_recall",
    ),
    Figure(
        name="tokens_kept", view=TEACHER_FORCED, unit=TOKENS, table=ENTROPY, title="tokens kept",
        required=True, matched="mean number of tokens kept", form="count", compared=False,
        formula="tokens with q > 0", text="How many tokens can be drawn.",
    ),
    Figure(
        name="expected_surprisal", view=TEACHER_FORCED, unit=NATS, table=DIVERGENCE,
        title="expected surprisal", required=True, matched="mean surprisal", human="surprisal",
        formula="-Σ q ln p / Σ q over the tokens that end no text",
        text="How unexpected to the model a token drawn from q is on average, given that it is not "
        "the end of the text. For human text, which has no end token, it is the mean -ln p of the "
        "human words.",
        note="It is H(q) + KL(q, p) for a model that ends no text. Positions where q can draw "
        "nothing but an end are left out.",
    ),
    Figure(
        name="varentropy", view=TEACHER_FORCED, unit="nats squared", table=ENTROPY,
        title="varentropy", matched="mean varentropy", compared=False,
        formula="Σ q (-ln q - H(q))²",
        text="The variance of the surprisal under q: 0 if all tokens that can be drawn are equally "
        "likely.",
    ),
    Figure(
        name="top_probability", view=TEACHER_FORCED, unit=SHARE, table=ENTROPY, title="top 1",
        matched="mean top-1 probability", form="share", compared=False,
        formula="max q", text="The probability of the likeliest token.",
    ),
    Figure(
        name="model_entropy", view=TEACHER_FORCED, unit=NATS,
        formula="H(p) = -Σ p ln p", text="The entropy of the model's own distribution.",
    ),
    Figure(
        name="surprisal", view=GENERATED, unit=NATS, table=LIKELIHOOD, title="surprisal",
        required=True, priority=2, difference=2,
        formula="mean of -ln p of the tokens written",
        text="How unexpected the generated texts are to the model.",
        note="Without the ends of texts, as human text has none.",
        meaning="how unexpected the tokens written are to the model, -ln p in nats",
    ),
    Figure(
        name="perplexity", view=GENERATED, unit=TOKENS, table=LIKELIHOOD, title="perplexity",
        required=True, form="count",
        formula="exp of the surprisal", text="The surprisal as a number.",
    ),
    Figure(
        name="bits_per_byte", view=GENERATED, unit="bits per byte", table=LIKELIHOOD,
        title="bits/byte",
        formula="bits of surprisal / bytes in UTF-8",
        text="The surprisal of the words written for each byte of them: it compares models with "
        "different vocabularies.",
        note="Without the ends of texts, which add no bytes.",
    ),
    Figure(
        name="scorer_bits_per_byte", view=GENERATED, unit="bits per byte", table=LIKELIHOOD,
        title="scorer", priority=4,
        formula="bits of surprisal / bytes in UTF-8",
        text="How unexpected the same texts are to a second model, the scorer.",
        note="Only with `--scorer`.",
        meaning="how unexpected the texts are to the second scorer, in bits per byte of text",
    ),
    Figure(
        name="scorer_surprisal", view=GENERATED, unit=NATS, table=LIKELIHOOD,
        title="scorer surprisal",
        formula="mean of -ln p under the scorer",
        text="How unexpected the same texts are to the scorer, per token of its own vocabulary.",
        note="Only with `--scorer`; without the ends of texts.",
    ),
    Figure(
        name="outside_human_band", view=GENERATED, unit=SHARE, table=LIKELIHOOD,
        title="outside band", required=True, form="share",
        formula="positions outside / positions",
        text="The share of positions with a model entropy outside the human band, which reaches "
        "from the 5th to the 95th percentile of the model's entropy on human text.",
        note="Without the positions of the ends of texts.",
        source="corelm_stats.intervals:outside",
    ),
    Figure(
        name="entropy_drift", view=GENERATED, unit="nats per 100 tokens", table=LIKELIHOOD,
        title="drift", form="per hundred",
        formula="slope of H(p) against position",
        text="The growth of the model's entropy along the texts: positive if they get less "
        "predictable.",
        note="By least squares over all positions of all texts but those of their ends. The "
        "document has it in nats per token.",
    ),
    *_REPETITION,
    Figure(
        name="diversity", view=GENERATED, unit=SHARE, table=LIKELIHOOD, title="diversity",
        required=True, form="share", depends_on=TEXT_LENGTH,
        formula="(1 - rep-2)(1 - rep-3)(1 - rep-4)",
        text="1 if nothing is repeated within a text; mean over texts.",
        note="Su et al. pool the n-grams of all texts before they multiply, so that long texts "
        "weigh more.",
        source="corelm_stats.text_figures:diversity",
    ),
    Figure(
        name="loops", view=GENERATED, unit=SHARE, table=LIKELIHOOD, title="loops",
        required=True, form="share", depends_on=TEXT_LENGTH, priority=5,
        formula="looping texts / texts",
        text="The share of texts that end with a phrase of two or more tokens, written three or "
        "more times (Holtzman et al. 2020).",
        note="The last repetition may be incomplete.",
        meaning="the share of texts that end by repeating one phrase",
        source="corelm.runs:Endings.in_loop",
    ),
    Figure(
        name="constraint_cost", view=GENERATED, unit="nats per text", table=LIKELIHOOD,
        title="constraint", compared=False,
        formula="-Σ ln of the mass allowed",
        text="The cost of a mask, such as a grammar: 0 if it changes nothing; its exponential is "
        "the factor by which it makes the text more likely.",
        note="Over the tokens of a text, mean over texts; null without masks.",
    ),
    Figure(
        name="model_calls", view=GENERATED, unit="calls per token", table=LIKELIHOOD,
        title="model calls", priority=7, compared=False,
        formula="calls / tokens written",
        text="The cost of a decoder: its calls of the model for each token of a text that is "
        "written alone.",
        note="Only if a decoder is in the report. A call reads any number of tokens of any number "
        "of texts; reading the prompt is one.",
        meaning="calls of the model for each token of a text written alone",
    ),
    Figure(
        name="tokens_read", view=GENERATED, unit="tokens per token", table=LIKELIHOOD,
        title="tokens read", priority=4, compared=False,
        formula="tokens read / tokens written",
        text="The cost of a decoder: the tokens that the model reads for each token written.",
        note="The prompt counts as one. A second model of the decoder is not counted.",
        meaning="tokens that the model read for each token written",
    ),
    *_DISTINCT,
    Figure(
        name="self_bleu_4", view=GENERATED, table=VARIETY, title="self-BLEU-4",
        required=True, depends_on=SET_SIZE, scale=LOGIT,
        formula="BLEU-4 of each text against all others",
        text="The likeness of the texts to each other, mean over texts: 1 if all are the same.",
        note="With smoothing 1 of Chen and Cherry 2014, by 0.1. No interval where fewer than 8 "
        "texts share a phrase of four tokens: there the smoothing decides it.",
        source="corelm_stats.ngrams:self_bleu",
    ),
    Figure(
        name="zipf", view=GENERATED, table=VARIETY, title="Zipf",
        required=True, depends_on=SET_SIZE, scale=SYMMETRIC,
        formula="s in frequency ~ 1 / rank^s",
        text="Over all texts together: the larger s is, the more a few frequent words dominate.",
        note="By least squares on the logarithms of frequency and rank of every different token.",
        source="corelm_stats.text_figures:zipf",
    ),
    Figure(
        name="compression", view=GENERATED, table=VARIETY, title="compression",
        required=True, depends_on=SET_SIZE, scale=RECIPROCAL,
        formula="bytes / bytes after gzip",
        text="Of all texts together: high if they repeat each other.",
        source="corelm_stats.text_figures:compression",
    ),
    Figure(
        name="unknown", view=GENERATED, unit=SHARE, table=VARIETY, title="[UNK]", form="share",
        compared=False,
        text="The share of tokens that are unknown words.",
        note="0 for generated text.",
    ),
    Figure(
        name="model_entropy", view=GENERATED, unit=NATS,
        formula="H(p) = -Σ p ln p",
        text="The entropy of the model's own distribution at the positions of these texts, without "
        "those of their ends.",
    ),
)  # fmt: skip


def of_view(view: str) -> list[Figure]:
    """Return the figures that have a key in a view."""
    return [figure for figure in FIGURES if figure.view == view and not figure.derived]
