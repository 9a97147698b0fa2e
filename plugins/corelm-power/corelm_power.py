"""Power sampling: whole texts with probability proportional to p(text)^alpha."""

import logging

import numpy as np

from corelm import Context, Decoder, draw, hookimpl, log_softmax, param

logger = logging.getLogger("corelm.power")

PAST_THE_END = -1

TOKEN = np.dtype(
    [
        ("token", np.int64),  # PAST_THE_END where the text has ended
        ("surprisal", np.float64),
        ("model_surprisal", np.float64),
        ("log_z", np.float64),  # the log of the sum of p^alpha over the vocabulary
    ]
)


class Power(Decoder):
    """Draw whole texts with probability proportional to p(text)^alpha, by Metropolis-Hastings.

    p(text) is the product of the probabilities of its tokens under the distributions that the
    sampler returns. A temperature of 1 / alpha sharpens each token by itself; this sharpens the
    text, so an unlikely token that leads to likely ones gets its due.

    The texts grow by blocks. After each block some moves are tried: a move chooses a position,
    writes the text again from there at the temperature 1 / alpha, and keeps the new text with the
    probability that makes p^alpha stationary. With more moves the texts come closer to p^alpha.
    All samples use the same positions, so that they can be decoded together. The model
    calls are logged at the end.

    Source: Karan and Du 2025, Reasoning with sampling: your base model is smarter than you think,
    arXiv 2510.14901; Metropolis et al. 1953, Equation of state calculations by fast computing
    machines; Hastings 1970, Monte Carlo sampling methods using Markov chains and their
    applications.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> options = dict(sampler="stochastic", length=6, seed=1, decoder=Power(alpha=4))
        >>> corelm.generate(ToyModel(), "the", **options)[0].text
        ' dog saw the cat and the'
    """

    alpha: float = param(4.0, "exponent of the probability of a text", gt=0, lt=np.inf)
    block: int = param(16, "tokens by which the texts grow", ge=1)
    moves: int = param(10, "moves after each block", ge=0)

    def __call__(self, task):
        """Yield the steps of the texts, once all moves are made."""
        if not task:
            return
        chain = MarkovChains(task, self.alpha)
        for start in range(0, task.length, self.block):
            stop = min(start + self.block, task.length)
            chain.extend(start, stop)
            for _ in range(self.moves):
                chain.move(stop)
        chain.report()
        texts = chain.texts["token"]
        yield from task.replay([text[text != PAST_THE_END].tolist() for text in texts])


class MarkovChains:
    """The texts of a run, one Markov chain each.

    Args:
        task: the task.
        alpha: the exponent.

    Attributes:
        texts: (samples, length) of `TOKEN`.
    """

    def __init__(self, task, alpha):
        self._task, self._alpha, self._root = task, alpha, task.start()
        self.texts = np.zeros((len(task.random_stream), task.length), TOKEN)
        self.texts["token"] = PAST_THE_END
        self._common = task.random_stream.with_samples([0])  # sample 0's numbers, in any batch
        self._used = 0  # random numbers of each sample
        self._calls = self._moves = self._accepted = 0

    def extend(self, start, stop):
        """Extend the texts that have not ended from `start` to `stop` tokens."""
        rows = np.arange(len(self.texts))
        if start:  # before the first token no text has ended
            before = self.texts["token"][:, start - 1]
            rows = np.flatnonzero((before != PAST_THE_END) & ~self._root.is_end(before))
        self.texts[rows, start:stop] = self._written(rows, start, stop)

    def move(self, stop):
        """Write all texts again from one random position, and keep the new text or the old one."""
        start = int(self._common.at(self._next_number())[0] * stop)
        coins = self._task.random_stream.at(self._next_number())
        rows = np.flatnonzero(self.texts["token"][:, start] != PAST_THE_END)
        proposed = self._written(rows, start, stop)
        # The proposal of a token v is p(v)^alpha / z, so all but z cancels in Hastings's ratio.
        gain = proposed["log_z"].sum(axis=1) - self.texts["log_z"][rows, start:stop].sum(axis=1)
        accepted = np.log(1 - coins[rows]) <= gain  # 1 - u is never 0, as u itself may be
        self.texts[rows[accepted], start:stop] = proposed[accepted]
        self._moves += len(rows)
        self._accepted += np.count_nonzero(accepted)

    def _next_number(self):
        self._used += 1
        return self._used - 1

    def _written(self, rows, start, stop):
        """Draw tokens again from position `start`; return (rows, stop - start) of `TOKEN`."""
        written = np.zeros((len(rows), stop - start), TOKEN)
        written["token"] = PAST_THE_END
        first, self._used = self._used, self._used + stop - start
        if len(rows) == 0:
            return written
        decoding, here = (
            self._task.start(self._context(rows, start), self._root.samples[rows]),
            np.arange(len(rows)),
        )
        for column in range(stop - start):
            weights = self._alpha * log_softmax(decoding.next().logits.astype(np.float64))
            uniforms = self._task.random_stream.at(first + column, decoding.samples)
            tokens, nats = draw(weights, uniforms)
            self._calls += len(here)
            written["token"][here, column] = tokens
            chosen = np.take_along_axis(weights, tokens[:, None], axis=1)[:, 0]
            written["log_z"][here, column] = chosen + nats
            going = ~decoding.is_end(tokens)
            here = here[going]
            if len(here) == 0 or column + 1 == stop - start:
                break
            decoding.select(going)
            decoding.advance(tokens[going])
            for name in ("surprisal", "model_surprisal"):
                written[name][here, column] = getattr(decoding.context, name)[:, -1]
        return written

    def _context(self, rows, length):
        """Return the context of the first tokens of some texts."""
        prompt, drawn = self._task.prompt, self.texts[rows, :length]
        tokens = np.column_stack([np.tile(prompt, (len(rows), 1)), drawn["token"]])
        none = np.full((len(rows), len(prompt)), np.nan)
        surprisal, model_surprisal = (
            np.column_stack([none, drawn[name]]) for name in ("surprisal", "model_surprisal")
        )
        vocabulary = self._task.model.vocabulary
        return Context(tokens, surprisal, model_surprisal, len(prompt), vocabulary)

    def report(self):
        """Log the model calls and the accepted moves."""
        tokens_written = np.count_nonzero(self.texts["token"] != PAST_THE_END)
        logger.info(
            "power: %d tokens from %d calls of the model, %.1f a token; "
            "%d of %d moves were accepted (%.0f %%)",
            *(tokens_written, self._calls, self._calls / max(tokens_written, 1)),
            *(self._accepted, self._moves, 100 * self._accepted / max(self._moves, 1)),
        )


@hookimpl
def corelm_decoders():
    return {"power": Power}
