"""The interface of an engine to probe, and the requests for its draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from corelm import Sampler
from corelm.errors import CorelmError
from corelm_probe.evidence import DrawnTexts, Evidence, distribution, reads_history
from corelm_probe.models import SIZE, ProbeModel

Settings = Mapping[str, Any]
STRIDE = 100_003
"""The distance between the seeds of two draws, so that texts of different requests never share
one."""
MOST = 1_000
"""The most requests of a probe but those for texts alone, whose seeds are so far apart."""
LENGTH = 100
"""The length of the long texts in tokens: without history, each token of a text is a draw."""
SHORT = 2
"""Tokens after a prompt, for a chain that reads the history: the contexts of the second token,
which include a drawn token, still repeat often enough to be counted."""


class EngineError(CorelmError):
    """The engine can't be reached, or returns something other than the model's tokens."""


class Engine(Protocol):
    """An engine with one of the models; a class that derives from it needs no more than `draw`.

    Attributes:
        name: its name and version, for display.
        format: the engine's name in `corelm.from_settings`, whose keys its settings have; None if
            the settings are a chain's own, under the key `sampler`.
        reports_logprobs: True if `logprobs` works.
    """

    name: str
    format: str | None
    reports_logprobs: bool = False

    def draw(
        self, prompt: Sequence[int], settings: Settings, n: int, seed: int, length: int
    ) -> Any:
        """Return the ids of n texts after a prompt, (n, length), drawn independently."""

    def draw_batch(
        self, prompts: Sequence[Sequence[int]], settings: Settings, seed: int, length: int
    ) -> Any:
        """Return the ids of a text after each prompt, (prompts, length).

        They are drawn at the same time, or by default one after the other.
        """
        return np.concatenate([self.draw(prompt, settings, 1, seed, length) for prompt in prompts])

    def logprobs(
        self, prompt: Sequence[int], settings: Settings, seed: int, length: int
    ) -> tuple[list[int], list[float]]:
        """Return the ids of one text, and the log-probabilities that are reported with them.

        Raises:
            EngineError: the engine reports none, as by default.
        """
        raise EngineError(f"{self.name} reports no log-probabilities")


@dataclass
class CallableEngine(Engine):
    """A function of this process as an engine.

    Args:
        function: called with a prompt's ids, the settings, the number of texts, a seed and their
            length; returns ids, (texts, length).
        name: its name, for display.
        format: as in `Engine`.

    Example:
        >>> import numpy
        >>> def always_one(prompt, settings, n, seed, length):
        ...     return numpy.ones((n, length), dtype=int)
        >>> CallableEngine(always_one).draw([1], {}, 2, 0, 3).tolist()
        [[1, 1, 1], [1, 1, 1]]
    """

    function: Callable[[Sequence[int], Settings, int, int, int], Any]
    name: str = "a function"
    format: str | None = None
    reports_logprobs: bool = False

    def draw(
        self, prompt: Sequence[int], settings: Settings, n: int, seed: int, length: int
    ) -> Any:
        return self.function(prompt, settings, n, seed, length)


@dataclass(frozen=True)
class DrawRequest:
    """A request for n texts of a length after a prompt, or for each of them `alone`."""

    prompt: tuple[int, ...]
    n: int
    length: int
    alone: bool = False


def requests_for(chain: Sampler, model: ProbeModel, draws: int) -> list[DrawRequest]:
    """Return the requests whose draws show most about a chain, after a short and a long prompt.

    Some texts are drawn alone: an engine may have other code for several at a time.
    """
    short, long = (_ranked(model)[1],), prompt_with_history(model)
    if reads_history(chain):
        n, few = max(1, draws // (2 * SHORT)), max(1, draws // (20 * SHORT))
        texts = [DrawRequest(short, max(1, n - few), SHORT), DrawRequest(long, n, SHORT)]
        return [*texts, DrawRequest(short, few, SHORT, alone=True)]
    few = draws // 10  # one token at a time costs an engine without batches more than long texts
    several, alone = max(1, (draws - 2 * few) // LENGTH), max(1, few // LENGTH)
    return [
        DrawRequest(short, several, LENGTH),
        DrawRequest(long, max(1, few), 1),
        DrawRequest(short, alone, LENGTH, alone=True),
    ]


def prompt_with_history(model: ProbeModel) -> tuple[int, ...]:
    """Return a prompt of 300 tokens that tells the windows of penalties apart.

    Likely tokens occur only in the last 20, only in the 21st to 64th last, in the 65th to 256th, or
    before; every second of them twice. Among the last 20 are also tokens of low logits, for
    penalties that depend on the sign.
    """
    ranked = _ranked(model)
    low = ranked[-40:-31]
    # The likeliest tokens, dealt in turn to the four parts.
    groups = [ranked[place:24:4] for place in range(4)]
    windows = zip((20, 44, 192, 44), (low, [], [], []), groups, strict=True)
    parts = []
    for size, more, group in windows:
        part = [*more, *group, *group[::2]]
        parts.append([ranked[-1]] * (size - len(part)) + part)
    return tuple(token for part in reversed(parts) for token in part)


def _ranked(model: ProbeModel) -> list[int]:
    """Return the ids by falling logit after token 1."""
    ids = np.argsort(-model.logits([[1]])[0], kind="stable")
    return [int(i) for i in ids if i != 0]


def collect(
    engine: Engine,
    model: ProbeModel,
    settings: Settings,
    requests: Sequence[DrawRequest],
    seed: int,
) -> Evidence:
    """Draw the texts of requests, each with a seed of its own.

    Raises:
        EngineError: the engine fails, or returns other ids or another number of texts.
    """
    texts = []
    for i, request in enumerate(requests):
        counts = [1] * request.n if request.alone else [request.n]
        drawn = [
            checked(
                engine.draw(request.prompt, settings, n, seed + i + MOST * j, request.length),
                (n, request.length),
                engine.name,
            )
            for j, n in enumerate(counts)
        ]
        texts.append(DrawnTexts(request.prompt, np.concatenate(drawn), request.alone))
    return Evidence(model, texts)


def padded(texts: Sequence[Sequence[int]], length: int) -> NDArray[np.int64]:
    """Return texts as one array, with -1 after the end of a shorter one."""
    array = np.full((len(texts), length), -1, dtype=np.int64)
    for row, text in zip(array, texts, strict=True):
        row[: len(text)] = text[:length]
    return array


def checked(drawn: Any, shape: tuple[int, int], name: str) -> NDArray[np.int64]:
    """Return the ids as an array; raise if they are not ids of this shape."""
    tokens = np.asarray(drawn)
    if tokens.shape != shape or tokens.dtype.kind not in "iu":
        raise EngineError(
            f"{name} must return whole numbers of shape {shape}, not {tokens.dtype} of "
            f"{tokens.shape}"
        )
    if tokens.size and not (tokens.min() >= -1 and tokens.max() < SIZE):
        raise EngineError(
            f"{name} returned the token {int(tokens.max())}; the model has {SIZE}: is it one of "
            "`corelm probe models`?"
        )
    return tokens.astype(np.int64)


def equal_texts(evidence: Evidence) -> int:
    """Return the number of texts that are copies of another text of the same request.

    Only long texts count, which are never equal by chance unless nearly every token is certain.
    """
    copies = 0
    for texts in evidence.texts:
        if texts.tokens.shape[1] >= LENGTH:
            copies += len(texts.tokens) - len(np.unique(texts.tokens, axis=0))
    return copies


def is_random(chain: Sampler, model: ProbeModel) -> bool:
    """Return True if two long texts of a chain are almost never equal."""
    return bool(distribution(chain, model, np.array([[1]])).max() < 0.9)
