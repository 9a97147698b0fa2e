"""Contrastive search: likely tokens that do not repeat what is there."""

import numpy as np

from corelm import (
    Decoder,
    HiddenStateSession,
    ParameterError,
    Step,
    hookimpl,
    largest_tokens,
    param,
    softmax,
    surprisals,
)


class Contrastive(Decoder):
    """Of the likeliest tokens take the one that is likely and unlike what came before.

    A candidate v scores (1 - alpha) p(v) - alpha max cos(h(v), h(x)): its probability under the
    distribution that the sampler returns, less the likeness of the model's last hidden state
    after it to that at each earlier token x. Luck plays no part: all samples are the same text.

    Source: Su et al. 2022, A contrastive framework for neural text generation, arXiv 2202.06417.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> options = dict(sampler="stochastic", length=6, decoder=Contrastive(k=3, alpha=0.4))
        >>> corelm.generate(ToyModel(), "the", **options)[0].text
        ' cat sat on'
    """

    k: int = param(4, "candidates: the likeliest tokens", ge=1)
    alpha: float = param(0.6, "weight of the likeness to what came before; 0 is greedy", ge=0, le=1)

    def __call__(self, task):
        """Yield the steps, the same token for every sample."""
        if task.length == 0 or len(task.random_stream) == 0:
            return
        samples = np.arange(len(task.random_stream))
        for position, token, *logits in self._write(task.with_samples([0])):
            tokens = np.full(len(samples), token)
            rows = [np.broadcast_to(row, (len(samples), row.size)) for row in logits]
            yield Step(position, samples, tokens, *rows, surprisals(rows[1], tokens))

    def _write(self, task):
        """Position, token, model's logits and logits of each token of the one text."""
        session, past = task.start(), task.context()
        seen = _first_states(task, session)
        for position in range(task.length):
            model_logits, logits = task.distribution(session.logits, past.context)
            candidates = _likeliest(logits[0], self.k)
            session.select(np.zeros(len(candidates), dtype=np.int64))
            session.extend(candidates)
            states = _unit(session.hidden_states(1)[:, 0])  # (candidates, width)
            best = self._choose(softmax(logits[0].astype(np.float64))[candidates], states, seen)
            token = candidates[[best]]
            yield position, token[0], model_logits[0], logits[0]
            if token[0] == task.model.vocabulary.end:
                return
            past.append(token, surprisals(logits, token), surprisals(model_logits, token))
            session.select([best])
            seen = np.concatenate([seen, states[[best]]])

    def _choose(self, p, states, seen):
        """Which candidate scores best, the likeliest on ties."""
        likeness = (states @ seen.T).max(axis=1) if len(seen) else 0
        return int(((1 - self.alpha) * p - self.alpha * likeness).argmax())


def _first_states(task, session):
    """(time, width): the directions of the hidden states at the prompt, as far as the model sees.

    Raises:
        ParameterError: a model that does not show its hidden states.
    """
    if not isinstance(session, HiddenStateSession):
        raise ParameterError(
            "decoder must be another one for this model: contrastive search compares hidden "
            "states, and the model does not show its own"
        )
    length = min(len(task.prompt), task.model.context_length)
    return _unit(session.hidden_states(max(length, 1))[0])[:length]


def _likeliest(row, k):
    """The k likeliest tokens of (vocabulary,) logits, in falling order, the lowest id on ties."""
    tokens = largest_tokens(row[None], min(k, len(row)))
    return tokens[np.lexsort((tokens, -row[tokens]))]


def _unit(states):
    """States of length 1: (..., width), of which nothing but the direction counts."""
    states = states.astype(np.float64)
    lengths = np.linalg.norm(states, axis=-1, keepdims=True)
    return states / np.maximum(lengths, np.finfo(float).tiny)


@hookimpl
def corelm_decoders():
    return {"contrastive": Contrastive}
