"""The figures of a set of texts as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from corelm.runs import plugins
from corelm_report.measure import plugin_metrics
from corelm_report.metrics import text_figures as metrics
from corelm_report.metrics.inference import Inference
from corelm_report.metrics.ngrams import sharing


class WholeSet:
    """The figures of one seed's texts as a set.

    Args:
        tokens, written: the texts.
        values: the figures of each of these texts.
        offered: the metrics of plugins.
        human: human texts, for metrics that compare with them.
        inference: the units of these texts.

    Attributes:
        values: the figures of `metrics.of_set`, and the metrics of plugins.
        left_out: the figures that are not means, without each unit in turn, for a jackknife.
        failures: the metrics that failed, with the reason.
        noise: the variances of plugin metrics due to their own random numbers.
        sharing: the number of texts that share one of self-BLEU's longest n-grams.
    """

    def __init__(
        self,
        tokens: Sequence[list[int]],
        written: Sequence[str],
        values: Mapping[str, NDArray[np.float64]],
        offered: Sequence[plugins.Offer],
        human: plugin_metrics.HumanTexts | None,
        inference: Inference,
    ) -> None:
        self.inference = inference
        groups = None if inference.of_single_texts else inference.groups
        of_plugins = plugin_metrics.measure(offered, tokens, written, human, groups)
        self.values = metrics.of_set(tokens, written, values) | of_plugins.values
        self.failures, self.noise = of_plugins.failures, of_plugins.noise
        self.sharing = sharing(tokens)
        self.left_out = metrics.left_out_of_set(tokens, written, groups) | of_plugins.left_out
