"""The figures of the texts of one seed as a whole set, and of the set without some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from corelm.reports.measure import plugin_metrics
from corelm.reports.metrics import text_figures as metrics
from corelm.reports.metrics.intervals import Interval, jackknife, mean_interval
from corelm.reports.metrics.ngrams import self_bleu_left_out, sharing
from corelm.toolkit import Offer

SELF_BLEU = "self_bleu_4"
MANY = 20
"""The number of sets whose spread is a better measure than a jackknife over their texts."""


class WholeSet:
    """The figures of the texts of one seed, as a whole set.

    Args:
        tokens, written: the texts.
        values: the figures of each of these texts.
        offered: the metrics of plugins.
        human: human texts, for metrics that compare with them.

    Attributes:
        values: the figures of `metrics.of_set`, and the metrics of plugins.
        left_out: for a jackknife, the figures that are not means, without some of the texts.
        failures: the metrics that failed, with the reason.
        noise: the variances of metrics of plugins that their own random numbers cause.
        sharing: the number of texts that share a phrase of the longest n-grams of self-BLEU.
    """

    def __init__(
        self,
        tokens: Sequence[list[int]],
        written: Sequence[str],
        values: Mapping[str, NDArray[np.float64]],
        offered: Sequence[Offer],
        human: plugin_metrics.HumanTexts | None,
    ) -> None:
        of_plugins = plugin_metrics.measure(offered, tokens, written, human)
        self.values = metrics.of_set(tokens, written, values) | of_plugins.values
        self.failures, self.noise = of_plugins.failures, of_plugins.noise
        self.sharing = sharing(tokens)
        self.left_out: dict[str, list[float | None]] = {
            **{f"distinct_{n}": metrics.distinct_left_out(tokens, n) for n in (1, 2, 3)},
            SELF_BLEU: self_bleu_left_out(tokens),
            "zipf": metrics.zipf_left_out(tokens),
            "compression": metrics.compression_left_out(written),
            **of_plugins.left_out,
        }


def interval_of_sets(
    whole: float | None, values: Sequence[float | None], left_out: Sequence[Sequence[float | None]]
) -> Interval | None:
    """Return the interval of the mean of a figure over the sets of several seeds.

    Args:
        whole: the mean.
        values: the figure of each set.
        left_out: of each set, the figure without each of its texts.
    """
    # Sets of different seeds are independent, so many of them need no approximation. Of fewer the
    # texts say more than the sets do, unless a set is one text.
    known = [value for value in values if value is not None]
    of_texts = None if len(values) >= MANY else jackknife(whole, *left_out)
    if of_texts is None and 1 < len(known) == len(values):
        return mean_interval(known, [1.0] * len(known))
    return of_texts
