"""The contracts of metrics: figures of texts that plugins add to reports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import fsum
from typing import Any, ClassVar

import numpy as np

from corelm.contracts.language_model import LanguageModel
from corelm.contracts.params import Parameterized
from corelm.errors import PluginError
from corelm.numerics.distributions import Array
from corelm.text.lines import is_finite_number
from corelm.text.printable import shown

Value = float | Sequence[float] | None
"""A figure, or one for each of several repetitions; None if it is undefined."""
LARGEST = 1e60
"""Numbers of a larger size are refused: an interval needs their fourth power."""


class Metric(Parameterized, ABC):
    """The base of the four kinds of metrics: a definition in words, parameters, limits.

    The fields of a metric are its parameters, declared by `param`, as a sampler's are. Its methods
    must depend on their arguments alone, because corelm calls them in several threads.
    """

    meaning: ClassVar[str] = ""
    """Its definition in a few words, such as "the mean number of words in a text". A metric whose
    definition depends on its parameters has a property of this name."""

    limits: ClassVar[tuple[float, float] | None] = None
    """The least and the largest value that the figure can have, where an interval ends."""

    def numbers(self, value: Value) -> list[float] | None:
        """Return a figure as numbers, one for each repetition; None if it is undefined.

        Raises:
            PluginError: it holds no numbers, or their mean is outside `limits`.
        """
        if value is None:
            return None
        is_list = isinstance(value, (list, tuple, np.ndarray)) and len(value)
        values: Sequence[Any] = value if is_list else [value]  # type: ignore[assignment]
        low, high = self.limits or (-LARGEST, LARGEST)
        are_numbers = all(is_finite_number(each, -LARGEST, LARGEST) for each in values)
        if not are_numbers or not low <= fsum(values) / len(values) <= high:
            raise PluginError(
                f"it returned {shown(value)}; expected a number between {low:g} and {high:g}, "
                "or None"
            )
        return [float(each) for each in values]


class SetMetric(Metric):
    """A figure of a set of texts as a whole, such as the number of different words in them.

    corelm adds the 95 % interval and the difference from another row. For these it computes the
    figure again without each of up to 64 parts of the set.

    Example:
        >>> import corelm
        >>> class Words(corelm.SetMetric):
        ...     meaning = "the number of different words in the texts"
        ...     def figure(self, tokens, texts):
        ...         return len({word for text in texts for word in text.split()})
        >>> Words().figure([[3, 4], [3]], ["the cat", "the"])
        2
    """

    @abstractmethod
    def figure(self, tokens: Sequence[Sequence[int]], texts: Sequence[str]) -> Value:
        """Return the figure of some texts: a finite number, or None if it is undefined.

        A figure that depends on random numbers of its own, such as clusters, may be one value for
        each of several repetitions, always the same ones. The report has their mean, and its
        interval holds their standard error.

        Args:
            tokens: the token ids of each text, without the end token.
            texts: the same texts as strings, without their prompts.
        """


class TextMetric(Metric):
    """A figure of one text; a report has the mean over the texts with the figure, and their number.

    Example:
        >>> import corelm
        >>> class LongWords(corelm.TextMetric):
        ...     meaning = "the share of long words"
        ...     letters: int = corelm.param(8, "letters of a long word", ge=1)
        ...     def of_text(self, tokens, text):
        ...         long = [len(word) >= self.letters for word in text.split()]
        ...         return sum(long) / len(long) if long else None
        >>> LongWords(letters=5).of_text([3, 4], "the movie")
        0.5
    """

    @abstractmethod
    def of_text(self, tokens: Sequence[int], text: str) -> float | None:
        """Return the figure of a text: a finite number, or None if the text has no such figure.

        Args:
            tokens: its token ids, without the end token.
            text: the same text as a string, without its prompt.
        """


class TokenMetric(Metric):
    """A figure of the next-token distributions of a text, such as the model's confidence.

    Example:
        >>> import corelm
        >>> class Likeliest(corelm.TokenMetric):
        ...     meaning = "the mean probability of the likeliest token"
        ...     def of_token(self, logits):
        ...         return corelm.softmax(logits).max(axis=-1)
        >>> Likeliest().of_text([0.5, 0.75], "the cat")
        0.625
    """

    @abstractmethod
    def of_token(self, logits: Array) -> Array:
        """Return the number of each token: (rows,), finite.

        Args:
            logits: (rows, vocabulary) of the report's model, one row before each token after a
                text's prompt, its end excepted; read-only. A token that is never drawn has minus
                infinity.
        """

    def of_tokens(self, logits: Array) -> list[float]:
        """Return `of_token` of some rows; raise a `PluginError` unless it is a number for each."""
        value = self.of_token(logits)
        numbers = np.asarray(value)
        is_valid = numbers.shape == logits.shape[:1] and numbers.dtype.kind in "fiu"
        if not is_valid or not (abs(numbers.astype(np.float64)) < LARGEST).all():
            raise PluginError(
                f"of_token returned {shown(value)}; expected {len(logits)} numbers between "
                f"{-LARGEST:g} and {LARGEST:g}"
            )
        return [float(number) for number in numbers]

    def of_text(self, numbers: Sequence[float], text: str) -> float | None:
        """Return the figure of a text from its tokens' numbers; by default their mean.

        Args:
            numbers: the number of each token.
            text: the text as a string, without its prompt.
        """
        return sum(numbers) / len(numbers) if numbers else None


class HumanMetric(Metric):
    """A comparison with human text, which needs a report with a reference.

    Example:
        >>> import corelm
        >>> class Longer(corelm.HumanMetric):
        ...     meaning = "characters, as a multiple of the first human text's"
        ...     def compare(self, texts, human, model):
        ...         return lambda rows: sum(len(texts[i]) for i in rows) / len(human[0])
        >>> Longer().compare(["the cat", "the"], ["people"], model=None)([0, 1])
        1.6666666666666667
    """

    @abstractmethod
    def compare(
        self, texts: Sequence[str], human: Sequence[str], model: LanguageModel
    ) -> Callable[[Sequence[int]], Value]:
        """Return a function from the indices of some of the texts to their figure.

        It is called once for each set of texts, so that the slow part happens once. The figure may
        be one value for each of several repetitions, as in `SetMetric.figure`.

        Args:
            texts: the texts of a sampler, without their prompts.
            human: the human texts.
            model: the model that reads both: the report's second scorer, or its own model.
        """


KINDS: tuple[type[Metric], ...] = (SetMetric, TextMetric, TokenMetric, HumanMetric)
