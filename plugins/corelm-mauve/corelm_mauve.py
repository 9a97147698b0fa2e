"""MAUVE: how close the distributions of generated texts and of human texts are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

import corelm
from corelm.abilities import can

CORELM_API_VERSION = 1
SCALE = 5.0
"""The factor of the divergences; the paper's c."""
MIXTURES = np.linspace(1e-6, 1 - 1e-6, 25)
"""The weights of the generated texts in the mixtures that both are compared with."""
VARIANCE = 0.9
"""The share of the variance of the features that their principal components keep."""
TEXTS_PER_CLUSTER = 10
RESTARTS, ROUNDS = 5, 500
"""The restarts and rounds of k-means."""
REPETITIONS = 5
"""The number of clusterings, each from a seed of its own."""
BATCH = 64

Floats = NDArray[np.float64]


def mauve(p: Floats, q: Floats) -> float:
    """Return the area under the divergence curve of two distributions: 1 if they are the same.

    A point of the curve is exp(-c KL(q, r)) and exp(-c KL(p, r)) for a mixture r of both.

    Args:
        p: (clusters,) the shares of the generated texts.
        q: (clusters,) the shares of the human texts.

    Example:
        >>> round(mauve(np.array([0.5, 0.5]), np.array([0.5, 0.5])), 6)
        1.0
        >>> round(mauve(np.array([0.9, 0.1]), np.array([0.5, 0.5])), 3)
        0.671
    """
    mixtures = MIXTURES[:, None] * p + (1 - MIXTURES[:, None]) * q
    # From the mixture that is nearly q to the one that is nearly p; the ends close the curve.
    x = np.concatenate([[1.0], np.exp(-SCALE * _divergences(q, mixtures)), [0.0]])
    y = np.concatenate([[0.0], np.exp(-SCALE * _divergences(p, mixtures)), [1.0]])
    return float(np.trapezoid(y[::-1], x[::-1]))


def _divergences(p: Floats, mixtures: Floats) -> Floats:
    """Return the KL divergence of a distribution from each mixture, (mixtures,), in nats."""
    there = p > 0  # 0 ln 0 counts as 0, not nan
    return np.asarray((p[there] * np.log(p[there] / mixtures[:, there])).sum(axis=1))


def clusters(
    generated: Floats, human: Floats, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cluster texts by their features; return the cluster of each text.

    Features are scaled to length 1 and reduced to principal components, as in the reference
    implementation of the paper; a cluster has ten texts of the smaller set on average.

    Args:
        generated: (texts, width) features.
        human: (texts, width) features.
        seed: the random seed of k-means.
    """
    from sklearn.cluster import KMeans  # takes a second to import

    together = np.concatenate([human, generated])
    count = max(round(min(len(generated), len(human)) / TEXTS_PER_CLUSTER), 2)
    count = min(count, len(np.unique(together, axis=0)))  # greedy texts are all the same
    points = _principal_components(together)
    kmeans = KMeans(count, n_init=RESTARTS, max_iter=ROUNDS, random_state=seed)
    labels = kmeans.fit(points).labels_.astype(np.int64)
    return labels[len(human) :], labels[: len(human)]


def _principal_components(features: Floats) -> Floats:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.maximum(lengths, np.finfo(float).tiny)
    left, scales, _ = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    share = np.cumsum(scales**2) / max((scales**2).sum(), np.finfo(float).tiny)
    count = int(np.argmax(share >= VARIANCE)) + 1
    return np.asarray(left[:, :count] * scales[:count])


@lru_cache(maxsize=2)  # cached: every sampler is compared with the same human texts
def features(model: Any, texts: tuple[str, ...]) -> Floats:
    """Return the model's last hidden state at the last token of each text: (texts, width).

    Raises:
        CorelmError: the model gives no access to its hidden states.
    """
    ids = [model.vocabulary.encode(text)[: model.context_length] for text in texts]
    rows: dict[int, Floats] = {}
    # Texts of one length are read together, so that none needs padding.
    for length in sorted({len(one) for one in ids} - {0}):
        alike = [i for i, one in enumerate(ids) if len(one) == length]
        for first in range(0, len(alike), BATCH):
            some = alike[first : first + BATCH]
            session = model.start(np.array([ids[i] for i in some]))
            if not can(session, "hidden_states"):
                raise corelm.CorelmError(
                    "MAUVE compares hidden states, which this model does not offer; choose another "
                    "one with --scorer"
                )
            rows |= zip(some, np.asarray(session.hidden_states(1)[:, 0], np.float64), strict=True)
    width = len(next(iter(rows.values()), ()))
    return np.array([rows.get(i, np.zeros(width)) for i in range(len(ids))])


class Mauve(corelm.HumanMetric):
    """MAUVE: how close the distribution of texts is to the distribution of human texts.

    The figure depends on the numbers of texts and on where k-means starts. So each repetition
    compares as many texts as human texts, chosen at random from the larger set, and starts k-means
    from a seed of its own.

    Source: Pillutla et al. 2021, MAUVE: measuring the gap between neural text and human text using
    divergence frontiers, arXiv 2102.01454.
    """

    meaning = "how close the texts are to human text, from 0 to 1 (MAUVE)"
    limits = (0.0, 1.0)

    repetitions: int = corelm.param(REPETITIONS, "clusterings, each from a seed of its own", ge=2)

    def compare(
        self, texts: Sequence[str], human: Sequence[str], model: Any
    ) -> Callable[[Sequence[int]], list[float] | None]:
        """Return a function from the indices of some texts to MAUVE in each repetition."""
        if min(len(texts), len(human)) < 2:
            return lambda rows: None
        own, theirs = features(model, tuple(texts)), features(model, tuple(human))
        repetitions = [_repetition(own, theirs, seed) for seed in range(self.repetitions)]

        def figure(rows: Sequence[int]) -> list[float] | None:
            values = [value for each in repetitions if (value := each(rows)) is not None]
            return values or None

        return figure


def _repetition(own: Floats, human: Floats, seed: int) -> Callable[[Sequence[int]], float | None]:
    rng, size = np.random.default_rng(seed), min(len(own), len(human))
    mine, theirs = (np.sort(rng.permutation(len(each))[:size]) for each in (own, human))
    labels, of_human = clusters(own[mine], human[theirs], seed)
    count = int(max(labels.max(), of_human.max())) + 1
    q = np.bincount(of_human, minlength=count) / size

    def figure(rows: Sequence[int]) -> float | None:
        # Keep the clusters: new ones for each part left out would add the variance of k-means.
        own = labels[np.isin(mine, np.asarray(rows))]
        return mauve(np.bincount(own, minlength=count) / len(own), q) if len(own) else None

    return figure


@corelm.hookimpl
def corelm_metrics() -> Mapping[str, type[corelm.HumanMetric]]:
    """Return the metric by name."""
    return {"mauve": Mauve}
