"""Some of the time, leave out the most likely of several good tokens."""

from __future__ import annotations

from collections.abc import Mapping

from corelm import Array, Context, Sampler, Vocabulary, hookimpl, param
from corelm.filters import TokenNames, xtc


class Xtc(Sampler):
    """Exclude top choices: with a probability, drop all good tokens but the least likely one.

    Good tokens have at least the threshold's probability and aren't in `special`; one of them, the
    last in falling order, stays. The coin and the draw after it are one draw from the mixture of
    the cut and the uncut distribution, and that mixture is returned. probability = 0 switches it
    off. A word of `special` that the model's vocabulary lacks is skipped; `end` means the end
    tokens, and `newline` the token of a line break.

    Source: p-e-w 2024, Exclude top choices (XTC), text-generation-webui pull request 6335.

    Related: quadratic, adaptive_p.

    Example:
        >>> import corelm, numpy
        >>> logits = numpy.log([0.5, 0.25, 0.15, 0.1])
        >>> always = Xtc(probability=1, threshold=0.2)
        >>> corelm.sampling_distribution(always, logits).round(4).tolist()
        [0.0, 0.5, 0.3, 0.2]
        >>> half = Xtc(probability=0.5, threshold=0.2)
        >>> corelm.sampling_distribution(half, logits).round(4).tolist()
        [0.25, 0.375, 0.225, 0.15]
    """

    kind = "filter"
    neutral = {"probability": 0.0}
    example = {"probability": 0.5}
    reads = frozenset({"vocabulary"})  # only where `special` holds words

    probability: float = param(0.0, "how often it acts; 0 is off", ge=0, le=1)
    threshold: float = param(0.1, "the least probability of a good token", ge=0, le=1)
    special: tuple[int | str, ...] = param(
        (),
        "tokens that it leaves alone: words, ids, end and newline for the ends of texts and lines",
    )

    def __call__(self, logits: Array, context: Context) -> Array:
        protected = self._protected(context.vocabulary, logits.shape[-1])
        return xtc(logits, self.probability, self.threshold, protected)

    def _protected(self, vocabulary: Vocabulary | None, size: int) -> set[int]:
        named = {"end", "newline"}.intersection(self.special)
        names = TokenNames(vocabulary, size)
        ids = names.existing(token for token in self.special if token not in named)
        if vocabulary is None:
            return ids
        ends = vocabulary.ends if "end" in named else ()
        # Some tokenizers put the mark of a space before it; the line break is the last token.
        breaks = vocabulary.encode("\n")[-1:] if "newline" in named else []
        return ids.union(ends, set(breaks) - {vocabulary.unknown})


@hookimpl
def corelm_samplers() -> Mapping[str, type[Sampler]]:
    return {"xtc": Xtc}
