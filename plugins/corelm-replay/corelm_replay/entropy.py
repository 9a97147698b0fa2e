"""The exact entropy of rollouts over training, which shows a collapse before the reward does."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from corelm.errors import ModelFileError, UsageError
from corelm.runs import SafeFile, json_object, numbered_lines
from corelm_replay.documents import are_ids, are_numbers
from corelm_replay.recording import ROUNDING, Rollouts

LARGEST = 2**28
"""The largest log, in bytes."""
FALL = 0.5
"""A run has collapsed when its entropy is below this share of the initial entropy."""


@dataclass(frozen=True)
class TrainingStep:
    """Means over the drawn tokens of one training step, in nats except for the shares.

    Attributes:
        step: the number of the step.
        entropy, model_entropy: of the distribution drawn from, and of the model's.
        kept_mass: the model's probability of the tokens that could be drawn.
        surprisal: of the drawn tokens under the chain.
        certain: the share of draws with a single possible token.
        outside: the share of tokens that the chain could not have drawn, such as unmasked padding;
            they don't count in the surprisal.
        reward: the mean reward; None if the trainer gave none.
    """

    step: int
    entropy: float
    model_entropy: float
    kept_mass: float
    surprisal: float
    certain: float
    outside: float
    reward: float | None = None


class EntropyLog:
    """A log of `TrainingStep`s, one line of JSON each.

    Args:
        path: the file, to which lines are appended; None keeps them in memory only.

    Example:
        >>> from corelm.testing import ToyModel
        >>> from corelm_replay import record
        >>> log = EntropyLog()
        >>> rollouts = record(ToyModel(), ["the"], sampler="top_k(k=1)", length=3, seed=1)
        >>> log.add(0, rollouts).certain
        1.0
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path)
        self.steps: list[TrainingStep] = []

    def add(self, step: int, rollouts: Rollouts, reward: float | None = None) -> TrainingStep:
        """Measure the rollouts of a step, log and return the `TrainingStep`.

        Args:
            step: its number.
            rollouts: `Rollouts` of `record` or `record_logits`, with at least one token.
            reward: the mean reward.
        """
        drawn = rollouts.drawn
        means = {name: float(getattr(rollouts, name)[drawn].mean())
                 for name in ("entropy", "model_entropy", "kept_mass")}  # fmt: skip
        logprobs = rollouts.logprobs[drawn]
        inside = logprobs > -np.inf
        entry = TrainingStep(
            step,
            **means,
            surprisal=float(-logprobs[inside].mean()) if inside.any() else 0.0,
            certain=float((rollouts.kept_size[drawn] == 1).mean()),
            outside=float(1 - inside.mean()),
            reward=reward,
        )
        self.steps.append(entry)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(entry), allow_nan=False) + "\n")
        return entry

    @classmethod
    def read(cls, path: str | Path) -> EntropyLog:
        """Return the log of a file.

        Raises:
            UsageError: a file that can't be read, or another kind of file.
        """
        log = cls()
        try:
            for place, line in numbered_lines(SafeFile(path).text(LARGEST), str(path)):
                step = TrainingStep(**json_object(line, place))
                nats = [step.entropy, step.model_entropy, step.surprisal]
                shares = [step.kept_mass, step.certain, step.outside]
                if not (
                    are_ids([step.step])
                    and are_numbers(nats, -ROUNDING)
                    and are_numbers(shares, -ROUNDING, 1 + ROUNDING)
                    and are_numbers([0 if step.reward is None else step.reward])
                ):
                    raise TypeError
                log.steps.append(step)
        except ModelFileError as error:
            raise UsageError(f"cannot read {path}: {error}") from None
        except TypeError:
            raise UsageError(f"{place} is no step in a log of entropies") from None
        if not log.steps:
            raise UsageError(f"{path} has no step, so it shows nothing")
        return log

    def collapse(self) -> int | None:
        """Return the first step at which the model's entropy is half of the beginning's, or None.

        The beginning is the mean of the first tenth of the steps.
        """
        nats = np.array([step.model_entropy for step in self.steps])
        if not len(nats):
            return None
        start = nats[: max(len(nats) // 10, 1)].mean()
        below = np.flatnonzero(nats < FALL * start)
        return self.steps[below[0]].step if len(below) else None

    def table(self, lines: int = 12) -> list[str]:
        """Return the lines of a report: about `lines` steps, and whether the entropy collapsed."""
        every = max(len(self.steps) // lines, 1)
        rows = [f"{'step':>6}{'entropy':>9}{'model':>8}{'kept mass':>11}{'surprisal':>11}"
                f"{'certain':>9}{'outside':>9}{'reward':>9}"]  # fmt: skip
        for step in self.steps[::every]:
            reward = "" if step.reward is None else f"{step.reward:.3f}"
            rows.append(
                f"{step.step:>6}{step.entropy:>9.3f}{step.model_entropy:>8.3f}"
                f"{step.kept_mass:>11.3f}{step.surprisal:>11.3f}{step.certain:>9.1%}"
                f"{step.outside:>9.1%}{reward:>9}"
            )
        at = self.collapse()
        rows.append(
            "the model's entropy stays above half of its beginning"
            if at is None
            else f"the model's entropy is below half of its beginning at step {at}"
        )
        return rows
