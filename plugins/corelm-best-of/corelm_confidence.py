"""The confidence of a model in its text: self-certainty, and DeepConf's means over groups."""

import math

import numpy as np

import corelm
from corelm import hookimpl, log_softmax, param

TOP = 20
"""The number of likeliest tokens whose log-probabilities define the confidence, as in DeepConf."""
WINDOW = 2048
"""The number of tokens in a group and in the tail, as in DeepConf."""
LOWEST = 0.1
"""The share of the groups that count in `group_confidence`."""


def token_self_certainty(logits):
    """Return the KL divergence of each distribution from the uniform one: (batch,) nats.

    That is -1/V sum ln(V p_j), over the V tokens that can be drawn.

    Source: Kang, Zhao, Song 2025, Scalable best-of-n selection for large language models via
    self-certainty, arXiv 2502.18581.

    Args:
        logits: (batch, vocabulary).

    Example:
        >>> token_self_certainty(np.log([[0.5, 0.5], [0.9, 0.1]])).round(4).tolist()
        [0.0, 0.5108]
    """
    return _self_certainty(log_softmax(logits.astype(np.float64)))


def _self_certainty(log_p):
    possible = log_p > -np.inf
    size = possible.sum(axis=-1)
    return -np.where(possible, log_p, 0.0).sum(axis=-1) / size - np.log(size)


def token_confidence(logits, top=TOP):
    """Return the mean surprisal of each row's likeliest tokens: (batch,) nats.

    It is high where few tokens have nearly all the probability. If fewer than `top` can be drawn,
    it is their mean.

    Source: Fu, Wang, Tian, Zhao 2025, Deep think with confidence, arXiv 2508.15260.

    Args:
        logits: (batch, vocabulary).
        top: the number of likeliest tokens.

    Example:
        >>> token_confidence(np.log([[0.5, 0.25, 0.25], [0.8, 0.1, 0.1]]), top=2).round(4).tolist()
        [1.0397, 1.2629]
    """
    return _confidence(log_softmax(logits.astype(np.float64)), top)


def _confidence(log_p, top):
    top = min(top, log_p.shape[-1])
    likeliest = np.partition(log_p, -top, axis=-1)[:, -top:]
    possible = likeliest > -np.inf
    return -np.where(possible, likeliest, 0.0).sum(axis=-1) / possible.sum(axis=-1)


def figures_of(logits):
    """Return `token_self_certainty` and `token_confidence`, from one pass over the logits."""
    log_p = log_softmax(logits.astype(np.float64))
    return _self_certainty(log_p), _confidence(log_p, TOP)


def group_means(values, window):
    """Return the means of all runs of `window` values; the overall mean if there are fewer.

    Example:
        >>> group_means(np.array([1.0, 2.0, 6.0]), 2).tolist()
        [1.5, 4.0]
    """
    if len(values) < window:
        return np.array([np.mean(values)])
    values, starts = values.tolist(), range(len(values) - window + 1)
    # Exact sums: differences of running ones would depend on the values before a run.
    return np.array([math.fsum(values[i : i + window]) for i in starts]) / window


def tail_mean(values, window):
    """Return the mean of the last `window` values."""
    return float(np.mean(values[-window:]))


def lowest_mean(values, window):
    """Return the mean of the lowest tenth, at least one, of the `group_means`."""
    means = np.sort(group_means(values, window))
    return float(np.mean(means[: max(1, int(len(means) * LOWEST))]))


METRIC_WINDOW = 16
"""The window of the metrics: a report's texts are shorter than DeepConf's."""


class SelfCertainty(corelm.TokenMetric):
    """The mean self-certainty of the model in a text.

    Source: Kang, Zhao, Song 2025, Scalable best-of-n selection for large language models via
    self-certainty, arXiv 2502.18581.
    """

    meaning = "the mean KL divergence, in nats, of the model's distributions from the uniform one"

    def of_token(self, logits):
        return token_self_certainty(logits)


class WindowedConfidence(corelm.TokenMetric):
    """A mean of the model's confidence in the tokens of a text, over windows."""

    def of_token(self, logits):
        return token_confidence(logits)

    def of_text(self, numbers, text):
        return self.mean(np.array(numbers), self.window) if numbers else None


class TailConfidence(WindowedConfidence):
    """The mean confidence of the model in a text's last tokens.

    Source: Fu, Wang, Tian, Zhao 2025, Deep think with confidence, arXiv 2508.15260.
    """

    window: int = param(METRIC_WINDOW, "tokens of the tail", ge=1)
    mean = staticmethod(tail_mean)

    @property
    def meaning(self):
        return f"the mean confidence of the model in the last {self.window} tokens, in nats"


class GroupConfidence(WindowedConfidence):
    """The mean confidence of the model in a text's least confident groups of tokens.

    Source: Fu, Wang, Tian, Zhao 2025, Deep think with confidence, arXiv 2508.15260.
    """

    window: int = param(METRIC_WINDOW, "tokens of a group", ge=1)
    mean = staticmethod(lowest_mean)

    @property
    def meaning(self):
        return (
            "the mean confidence of the model, in nats, in the lowest tenth of all runs of "
            f"{self.window} tokens"
        )


@hookimpl
def corelm_metrics():
    return {
        "self_certainty": SelfCertainty,
        "tail_confidence": TailConfidence,
        "group_confidence": GroupConfidence,
    }
