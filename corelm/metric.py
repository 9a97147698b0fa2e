"""The contract of a metric: a figure of a set of texts that a plugin adds to reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from corelm.language_model import LanguageModel
from corelm.numerics.distributions import Array

Value = float | Sequence[float] | None
"""A figure, or one for each of several repetitions; None if it is undefined."""


@dataclass(frozen=True)
class Metric:
    """A figure of a set of texts, which `corelm report --metric NAME` adds to a report.

    corelm adds the 95 % interval and the difference from another row. For these it computes the
    figure again without each of up to 64 parts of the set, in several threads, so the function
    must depend on its arguments alone.

    A function of `figure` or `compare` that depends on random numbers of its own, such as clusters,
    may return one value for each of several repetitions, always the same ones. The report has their
    mean, and its interval holds their standard error.

    Attributes:
        meaning: its definition in a few words, such as "the mean number of words in a text".
        figure: called with the token ids of each text, without the end token, and with the same
            texts as strings, without their prompts. It returns a finite number, or None if the
            figure is undefined for these texts. `corelm report --bibtex` cites the source in its
            docstring, as it does for samplers.
        compare: in place of `figure`, for a comparison with human text, which needs a report with
            a reference. Called once for each set with its texts, human texts, and the report's
            second scorer, or its model if it has none. It returns a function from the indices
            of some of the texts to the figure.
        of_text: in place of `figure`, for a mean over texts: called with the token ids and the
            string of one text. It returns a finite number, or None if the text has no such figure,
            as one that is too short. The report has the mean over the texts that have it, and
            their number.
        of_token: with `of_text`, for a figure of next-token distributions: called with
            (rows, vocabulary) logits of the report's model, one row before each token after a
            text's prompt, its end excepted. It returns (rows,) finite numbers. `of_text` then
            gets the numbers of a text in place of the token ids.
        limits: the least and the largest value that the figure can have, where an interval ends.

    Example:
        >>> import corelm
        >>> def words(tokens, texts):
        ...     return sum(len(text.split()) for text in texts) / len(texts)
        >>> metric = corelm.Metric("the mean number of words in a text", words)
        >>> metric.figure([[3, 4], [3]], ["the cat", "the"])
        1.5
        >>> likeliest = lambda logits: corelm.softmax(logits).max(axis=-1)
        >>> meaning = "the mean probability of the likeliest token"
        >>> mean = lambda p, text: sum(p) / len(p) if p else None
        >>> metric = corelm.Metric(meaning, of_token=likeliest, of_text=mean)
    """

    meaning: str
    figure: Callable[[Sequence[Sequence[int]], Sequence[str]], Value] | None = None
    compare: (
        Callable[
            [Sequence[str], Sequence[str], LanguageModel],
            Callable[[Sequence[int]], Value],
        ]
        | None
    ) = None
    of_text: Callable[[Sequence[int], str], float | None] | None = None
    limits: tuple[float, float] | None = None
    of_token: Callable[[Array], Array] | None = None

    @property
    def functions(self) -> list[Callable[..., object]]:
        """The functions that compute it."""
        own = (self.figure, self.compare, self.of_text, self.of_token)
        return [each for each in own if each is not None]
