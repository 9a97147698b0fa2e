"""Explain the differences between a trainer's and a rollout's log-probabilities, by cause."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import corelm
from corelm import Chain, Sampler
from corelm.errors import MissingDependencyError, UsageError
from corelm_replay.layout import Array, Layout, as_numpy
from corelm_replay.logprobs import chain_logprobs
from corelm_replay.recording import ROUNDING

CAUSES = {
    "temperature": "temperature",
    "filter": "lost mass",
    "penalty": "penalties",
    "mask": "masks",
    "other": "other stages",
}
"""The cause of a difference, for each kind of stage."""

STOCHASTIC = corelm.sampler("stochastic")

NEAR = 0.9, 1.1
"""Importance ratios outside these are counted, as is usual in discussions of the mismatch."""


@dataclass(frozen=True, eq=False)
class Audit:
    """The differences of a trainer's log-probabilities from the recorded ones.

    Attributes:
        chain: the sampler.
        tokens: the number of tokens.
        differences: for each cause, (tokens,) nats that it adds to the trainer's plain log-softmax
            on the way to the recorded log-probability; `rounding` is the rest.
        outside_set: (tokens,) True for a token that the trainer's chain could not have drawn; it
            counts in no cause.
    """

    chain: str
    tokens: int
    differences: dict[str, NDArray[np.float64]]
    outside_set: NDArray[np.bool_]

    @property
    def plain_ratios(self) -> NDArray[np.float64]:
        """(tokens,) the importance ratios without replay."""
        with np.errstate(over="ignore"):  # an infinite ratio is outside, too
            return np.asarray(np.exp(-np.sum([*self.differences.values()], axis=0)))

    @property
    def replayed_ratios(self) -> NDArray[np.float64]:
        """(tokens,) the importance ratios with replay; 0 outside the kept set."""
        with np.errstate(over="ignore"):
            return np.where(self.outside_set, 0.0, np.exp(-self.differences["rounding"]))

    def figures(self) -> dict[str, float]:
        """Return the figures of the table by name, for `--fail-if`."""
        inside = ~self.outside_set
        named = {
            "tokens": float(self.tokens),
            "ratios_outside": outside_share(self.plain_ratios),
            "replayed_outside": outside_share(self.replayed_ratios),
            "outside_set": float(self.outside_set.mean()) if self.tokens else 0.0,
        }
        for cause, nats in self.differences.items():
            mean = float(np.abs(nats[inside]).mean()) if inside.any() else 0.0
            named[cause.replace(" ", "_")] = mean
        return named

    def table(self) -> list[str]:
        """Return the lines of the table."""
        figures, inside = self.figures(), ~self.outside_set
        lines = [
            f"{self.tokens} tokens under {self.chain}",
            f"ratios outside {NEAR[0]} to {NEAR[1]}   {figures['ratios_outside']:.1%} without "
            f"replay, {figures['replayed_outside']:.1%} with it",
            f"outside the kept set       {figures['outside_set']:.2%}",
            f"{'cause':<18}{'mean |nats|':>12}{'mean nats':>12}{'largest':>12}",
        ]
        for cause, nats in self.differences.items():
            mine = nats[inside] if inside.any() else np.zeros(1)
            largest = float(np.abs(mine).max())
            mean = np.abs(mine).mean()
            lines.append(f"{cause:<18}{mean:>12.2g}{mine.mean():>12.2g}{largest:>12.2g}")
        return lines


def audit(
    chain: Sampler | str, logits: Array, tokens: Array, recorded: Array, *, prompt_length: Array,
    mask: Array = None, surprisal: Array = None, model_surprisal: Array = None,
    vocabulary: Any = None,
) -> Audit:  # fmt: skip
    """Split the difference between recorded and plain log-probabilities into its causes.

    Stages are added one after the other; each adds the nats by which it changes the log-probability
    of the token. The remaining difference is rounding in the engine, or another model.

    Args:
        chain: the sampler that drew.
        logits: (batch, time, vocabulary) the trainer's raw logits.
        tokens, prompt_length, mask, surprisal, model_surprisal, vocabulary: as for
            `chain_logprobs`.
        recorded: (batch, time) the log-probabilities that the rollout recorded under the chain.

    Raises:
        UsageError: no token, or recorded log-probabilities above 0 or without a value.

    Example:
        >>> logits = np.log([[[0.5, 0.3, 0.2]]])
        >>> result = audit("top_k(k=2)", logits, [[0, 1]], [[np.log(0.375)]], prompt_length=1)
        >>> result.plain_ratios.round(4).tolist(), result.replayed_ratios.round(4).tolist()
        ([0.8], [1.0])
    """
    sampler = corelm.sampler(chain)
    options = {
        "prompt_length": prompt_length, "mask": mask, "surprisal": surprisal,
        "model_surprisal": model_surprisal, "vocabulary": vocabulary,
    }  # fmt: skip
    valid = Layout(logits.shape, tokens, prompt_length, mask).valid
    stated = as_numpy(recorded)[valid]
    if not stated.size:
        raise UsageError("no token was drawn, so there is nothing to audit")
    if not (stated <= ROUNDING).all():
        raise UsageError("the recorded log-probabilities must be numbers of at most 0")
    stages = sampler.active_stages
    before = [Chain((STOCHASTIC, *stages[:count])) for count in range(len(stages) + 1)]
    paths = [as_numpy(chain_logprobs(each, logits, tokens, **options))[valid] for each in before]
    return split(sampler, np.array(paths, np.float64), stated)


def split(sampler: Sampler, paths: NDArray[np.float64], recorded: NDArray[np.float64]) -> Audit:
    """Return the `Audit` of log-probabilities after each stage.

    Args:
        sampler: the chain.
        paths: (stages + 1, tokens) the trainer's log-probabilities before the first stage and after
            each.
        recorded: (tokens,) the rollout's log-probabilities.
    """
    outside = (paths == -np.inf).any(axis=0)
    whole = recorded - paths[0]
    # No change by any stage, if the chain gives probability 0.
    paths[:, outside] = recorded[outside]
    differences: dict[str, NDArray[np.float64]] = {}
    for stage, change in zip(sampler.active_stages, np.diff(paths, axis=0), strict=True):
        cause = CAUSES[stage.kind]
        differences[cause] = differences.get(cause, 0) + change
    differences["rounding"] = recorded - paths[-1]
    differences["tokens outside the set"] = np.where(outside, whole, 0.0)
    return Audit(str(sampler), len(recorded), differences, outside)


def outside_share(ratios: NDArray[np.float64]) -> float:
    """Return the share of importance ratios outside `NEAR`.

    Example:
        >>> outside_share(np.array([1.0, 0.8]))
        0.5
    """
    # A ratio that isn't a number is outside, too.
    return float((~((ratios >= NEAR[0]) & (ratios <= NEAR[1]))).mean()) if len(ratios) else 0.0


def picture(result: Audit, path: str | Path) -> None:
    """Save a picture of an audit: the ratios without and with replay, and the causes.

    Args:
        result: an `Audit`.
        path: a file of matplotlib's formats, such as `.svg` or `.png`.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "the picture needs matplotlib; run: pip install matplotlib"
        ) from error
    figure = Figure(figsize=(7.5, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    bins = np.linspace(0, 2, 81)
    for ratios, name, colour in (
        (result.plain_ratios, "without replay", "#c2703d"),
        (result.replayed_ratios, "with replay", "#1b7f79"),
    ):
        left.hist(ratios.clip(0, 2), bins, label=name, color=colour, alpha=0.7)
    for edge in NEAR:
        left.axvline(edge, color="#888", linewidth=0.8, linestyle=":")
    left.set(xlabel="importance ratio (2: 2 or more)", ylabel="tokens", yscale="symlog")
    left.legend(frameon=False)
    inside = ~result.outside_set
    causes = [*reversed(result.differences)]
    shares = [float(np.abs(result.differences[cause]).mean()) for cause in causes]
    right.barh(causes, shares, color="#1b7f79")
    right.set(xlabel=f"mean |nats| of {inside.size} tokens")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
