"""Markov chains with a known truth, whose texts have the records of a report.

A prompt is a topic: six words of a vocabulary of sixty, and a chain between them. Its parameters
are drawn from a distribution, so there are as many prompts as a simulation asks for. The chains
are simulated here, with NumPy alone and without corelm's samplers:

- `repeating`: in some topics two words lead to each other, so that many texts fall into a loop;
- `unlike`: the prompts are of very unlike difficulty, from certain to six equally likely words;
- `ending`: a text ends after each word with a probability that depends on the word;
- `kinds`: prompts of six unlike kinds, from certain to uniform, whose texts have 0 to 60 words;
- `copies`: three in ten prompts have one text alone, one in ten has only empty texts, and the
  others are loops, so that most figures have atoms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corelm_report.measure.text_records import TextRecord

Floats = NDArray[np.float64]
WORDS, VOCABULARY = 6, 60
CHAINS = ("repeating", "unlike", "ending")
LENGTHS = {"repeating": 24, "unlike": 16, "ending": 40, "kinds": 60, "copies": 30}
"""The tokens of a text, at most."""
END = 2
"""The id of the end token."""
PEOPLE = "temperature(t=1.15)"
"""The sampler that writes the texts of people."""
KINDS = (("certain", 40.0, 0.02), ("sure", 4.0, 0.01), ("usual", 2.0, 0.05), ("unsure", 1.0, 0.1),
         ("short", 0.5, 0.4), ("uniform", 0.0, 0.2))  # fmt: skip
"""The kinds of prompts: how sharp their distributions are, and how likely a text's end is."""
MANY, FIXED = 8, 77
"""The number of prompts from which they are the units, and the random seed of prompts that stay."""


@dataclass(frozen=True)
class Topics:
    """Some prompts: their words, and the logits of the chains between them.

    Attributes:
        words: (prompts, WORDS) the ids of the words.
        logits: (prompts, WORDS, WORDS + 1), the last one of the end of the text.
    """

    words: NDArray[np.int64]
    logits: Floats


def topics(chain: str, prompts: int, rng: np.random.Generator) -> Topics:
    """Draw some prompts of a chain."""
    logits = rng.normal(0, 1, (prompts, WORDS, WORDS + 1))
    logits[:, :, WORDS] = -np.inf
    if chain == "repeating":
        # Two words that lead to each other: a text enters the loop seldom and stays in it long.
        trap = rng.uniform(1.0, 6.0, (prompts, 1))
        logits[:, 0, :WORDS] = logits[:, 1, :WORDS] = -trap
        logits[:, 0, 1] = logits[:, 1, 0] = 0.0
        logits[:, 2:, :2] -= 1.0
    elif chain == "unlike":
        logits[:, :, :WORDS] *= np.exp(rng.normal(0, 1.2, (prompts, 1, 1)))
    elif chain == "ending":
        _end(logits, rng.uniform(0.05, 0.25, (prompts, WORDS)))
    elif chain == "kinds":
        _, sharp, end = zip(
            *(KINDS[i] for i in rng.integers(len(KINDS), size=prompts)), strict=True
        )
        logits[:, :, :WORDS] *= np.array(sharp)[:, None, None]
        _end(logits, np.array(end)[:, None])
    else:
        kind = rng.random(prompts)
        logits[kind < 0.3, :, :WORDS] *= 200.0
        logits[kind >= 0.4, :, :WORDS] *= 3.0
        _end(logits, np.where((kind >= 0.3) & (kind < 0.4), 1 - 1e-9, 0.01)[:, None])
    words = 3 + rng.permuted(np.tile(np.arange(VOCABULARY), (prompts, 1)), axis=1)[:, :WORDS]
    return Topics(words, logits)


def _end(logits: Floats, ends: Floats) -> None:
    """Let a text end after each word with these probabilities."""
    rest = np.logaddexp.reduce(logits[:, :, :WORDS], axis=2)
    logits[:, :, WORDS] = rest + np.log(ends / (1 - ends))


def prompts_of(chain: str, prompts: int, rng: np.random.Generator) -> Topics:
    """Return the prompts of one study: of its own if they are the units, else the first ones."""
    if prompts >= MANY:
        return topics(chain, prompts, rng)
    fixed = topics(chain, MANY, np.random.default_rng(FIXED))
    return Topics(fixed.words[:prompts], fixed.logits[:prompts])


def distributions(logits: Floats, sampler: str) -> tuple[Floats, Floats]:
    """Return the model's distributions after each word, and those drawn from.

    Args:
        logits: (..., WORDS + 1).
        sampler: `temperature(t=...)` or `min_p(p=...)`, which is computed here.
    """
    p = np.exp(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))
    value = float(sampler.partition("=")[2].rstrip(")"))
    if sampler.startswith("temperature"):
        q = p ** (1 / value)
    else:
        q = np.where(p >= value * p.max(axis=-1, keepdims=True), p, 0.0)
    return p, q / q.sum(axis=-1, keepdims=True)


def expected_surprisal(logits: Floats, sampler: str) -> Floats:
    """Return the mean surprisal of a word that a sampler draws after each word, in nats.

    The end of a text is no word.
    """
    p, q = (each[..., :WORDS] for each in distributions(logits, sampler))
    return -np.sum(q * np.log(np.where(p > 0, p, 1)), axis=-1) / q.sum(axis=-1)


@dataclass(frozen=True)
class Texts:
    """Texts of some prompts; arrays are (prompts, texts, tokens), nan behind the end.

    Attributes:
        tokens: the words, -1 behind the end.
        states: the place in the topic of the word before each token.
        surprisal, entropy: in nats, under the model.
    """

    tokens: NDArray[np.int64]
    states: NDArray[np.int64]
    surprisal: Floats
    entropy: Floats

    def records(self) -> list[TextRecord]:
        """Return the records of a report, the samples of the first prompt first."""
        prompts, samples, _ = self.tokens.shape
        return [self._record(place, i) for place in range(prompts) for i in range(samples)]

    def _record(self, place: int, sample: int) -> TextRecord:
        length = int((self.tokens[place, sample] >= 0).sum())
        own = self.tokens[place, sample, :length].tolist()
        written = " ".join(f"w{token}" for token in own)
        entropy = self.entropy[place, sample, :length].tolist()
        return TextRecord(
            prompt=f"prompt {place}", seed=1, sample=sample, text=written, tokens=own, end=None,
            finish_reason="length", unknown=0, bytes=len(written), words=[],
            surprisal=self.surprisal[place, sample, :length].tolist(), sampler_surprisal=[],
            entropy=entropy, model_entropy=entropy, constraint_cost=None, model_calls=None,
            tokens_read=None, details=[],
        )  # fmt: skip


def write(some: Topics, sampler: str, uniforms: Floats) -> Texts:
    """Return texts of each prompt, from (prompts, texts, tokens) random numbers."""
    p, q = distributions(some.logits, sampler)
    entropies = -np.sum(np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0), axis=2)
    cumulative = np.cumsum(q, axis=2)
    state, open_ = np.full(uniforms.shape[:2], 2), np.ones(uniforms.shape[:2], bool)
    tokens, states = np.full((2, *uniforms.shape), -1)
    surprisal, entropy = np.full((2, *uniforms.shape), np.nan)
    prompt = np.arange(len(p))[:, None]
    for place in range(uniforms.shape[2]):
        below = cumulative[prompt, state] <= uniforms[:, :, place, None]
        following = np.minimum(below.sum(axis=2), WORDS)
        open_ &= following < WORDS
        word = np.minimum(following, WORDS - 1)
        tokens[:, :, place] = np.where(open_, some.words[prompt, word], -1)
        surprisal[:, :, place] = np.where(open_, -np.log(p[prompt, state, word]), np.nan)
        entropy[:, :, place] = np.where(open_, entropies[prompt, state], np.nan)
        states[:, :, place] = state
        state = word
    return Texts(tokens, states, surprisal, entropy)
