"""The Gumbel-max watermark: draw with random numbers that the key and the last tokens decide."""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from corelm import hookimpl, param
from corelm_watermark.keys import secret
from corelm_watermark.philox import key_number, uniforms, vocabulary_uniforms
from corelm_watermark.watermark import Watermark

START = -1
"""The id in place of the missing tokens before a text, as in vLLM."""


class GumbelMax(Watermark):
    """Draw each token with noise that a secret key and the last tokens decide.

    The key and the last `context` drawn tokens give each token a number u, uniform between 0 and 1.
    The token with the largest log p - ln(-ln u) is drawn. Over keys that is a draw from p, so the
    distribution of a text is unchanged; given the key, one token has all the probability, and the
    entropy of the step is 0. `corelm watermark detect` adds up -ln(1 - u).

    A context that occurred before leaves the distribution as it is, so a loop isn't written for
    ever. With the scope `all`, the first `context` tokens are not marked, and texts of one prompt
    differ. With `text`, vLLM's default `single_turn`, they are all the same until a context
    repeats. The numbers match vLLM's `gumbel` with its `philox` generator, and a whole
    number below 2**64 is vLLM's key. Put it last in a chain.

    Source: Aaronson 2022, My AI safety lecture for UT Effective Altruism; Fu et al. 2024,
    GumbelSoft: diversified language model watermarking via the GumbelMax-trick, arXiv 2402.12948.

    Related: synthid, green_list.

    Example:
        >>> import corelm
        >>> sampler = GumbelMax(key="an example", scope="text")
        >>> corelm.sampling_distribution(sampler, [0.0] * 4).tolist()
        [0.0, 1.0, 0.0, 0.0]
    """

    reads = frozenset({"tokens", "position", "vocabulary"})  # it depends on the ids themselves

    key: str = param(
        "",
        "a secret text or number, or env:NAME for an environment variable that holds it",
        local=True,
    )
    context: int = param(4, "how many of the last drawn tokens decide the noise", ge=1)
    history: int = param(8192, "how many earlier contexts are not marked again", ge=0)
    scope: str = param(
        "all", "where contexts repeat: the prompt too, or the text alone", choices=("all", "text")
    )

    once_per_context = True
    score_format = ".2f"

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "_number", key_number(secret(self.key)))

    def __call__(self, logits, context):
        if self.scope == "all" and context.position < self.context:
            return logits
        tokens = context.tokens if self.scope == "all" else context.drawn
        padded = np.pad(tokens, ((0, 0), (self.context, 0)), constant_values=START)
        windows = sliding_window_view(padded, self.context, axis=1)  # (batch, time + 1, context)
        time = windows.shape[1] - 1
        now, before = windows[:, -1:], windows[:, max(time - self.history, 0) : time]
        marked = np.flatnonzero(~(before == now).all(axis=-1).any(axis=-1))
        result = logits.copy()
        if len(marked):
            u = vocabulary_uniforms(self._number, now[marked, 0], logits.shape[1])
            scores = logits[marked] - np.log(-np.log(u.astype(np.float64)))
            drawn = np.arange(logits.shape[1]) == scores.argmax(axis=1)[:, None]
            result[marked] = np.where(drawn, logits[marked], -np.inf)
        return result

    @property
    def marks_the_start(self):
        """True if tokens with fewer than `context` before them are marked."""
        return self.scope == "text"

    def marks(self, grams, size):
        """Return -ln(1 - u) of the last token of each n-gram: (grams, 1)."""
        u = uniforms(self._number, grams[:, :-1], grams[:, -1:])
        return -np.log1p(-u.astype(np.float64))

    def chance(self, size):
        return 1.0

    def evidence(self, marks, size):
        """Return the score of marks, its z-score, and its p-value in other texts.

        The sum of n exponential marks has the Erlang distribution, so the p-value is exact.
        """
        from scipy.special import gammaincc  # late: no sampler needs it

        n, total = len(marks), float(marks.sum())
        return total / n, (total - n) / math.sqrt(n), float(gammaincc(n, total))


@hookimpl
def corelm_samplers():
    return {"gumbel_max": GumbelMax}
