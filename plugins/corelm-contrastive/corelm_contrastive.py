"""Contrastive search: likely tokens that do not repeat earlier ones."""

import numpy as np

from corelm import Decoder, ParameterError, Step, hookimpl, param, softmax, surprisals
from corelm.abilities import can
from corelm.filters import likeliest_tokens


class Contrastive(Decoder):
    """Choose, among the most likely tokens, a likely one whose hidden state is unlike earlier ones.

    A candidate v scores (1 - alpha) p(v) - alpha max cos(h(v), h(x)): its probability under the
    distribution that the sampler returns, minus its largest cosine similarity to an earlier token
    x, by the model's last hidden states. No random numbers are used: all samples are equal.

    Source: Su et al. 2022, A contrastive framework for neural text generation, arXiv 2202.06417.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> options = dict(sampler="stochastic", length=6, decoder=Contrastive(k=3, alpha=0.4))
        >>> corelm.generate(ToyModel(), "the", **options)[0].text
        ' cat sat on'
    """

    is_deterministic = True

    k: int = param(4, "candidates: the most likely tokens", ge=1)
    alpha: float = param(0.6, "weight of the similarity to earlier tokens; 0 is greedy", ge=0, le=1)

    def __call__(self, task):
        """Yield the steps, the same token for every sample."""
        if not task:
            return
        # Without random numbers all samples are equal, so one is written and repeated.
        samples = np.array(task.random_stream.samples)
        for position, (token, distributions) in enumerate(self._write(task.with_samples([0]))):
            tokens, same = np.full(len(samples), token), distributions.select(0 * samples)
            nats = surprisals(same.logits, tokens)
            yield Step(
                position, samples, tokens, same.model_logits, same.logits, nats, same.allowed,
                same.fell_back,
            )  # fmt: skip

    def _write(self, task):
        """Yield the tokens of the one text, each with its distributions."""
        decoding = task.start()
        past_states = _prompt_states(task, decoding.session)
        for _ in range(task.length):
            distributions = decoding.next()
            candidates, states, scores = self._scored(
                decoding, distributions.logits[0], past_states
            )
            best = int(scores.argmax())  # the first, so the most likely on ties
            yield candidates[best], distributions
            if candidates[best] in task.model.vocabulary.ends:
                return
            decoding.select(np.array([best]))
            past_states = np.concatenate([past_states, states[[best]]])

    def _scored(self, decoding, logits, past_states):
        """Return the candidates, their hidden states and their scores, and append one to each row.

        Args:
            decoding: the one text.
            logits: (vocabulary,) the sampler's.
            past_states: (time, width) the hidden states of the text.
        """
        candidates = likeliest_tokens(logits, self.k)
        # The hidden state of a candidate exists only after the model has read it.
        decoding.select(np.zeros(len(candidates), dtype=np.int64))
        decoding.advance(candidates)
        states = _unit(decoding.session.hidden_states(1)[:, 0])  # (candidates, width)
        p = softmax(logits.astype(np.float64))[candidates]
        similarity = _similarities(states, past_states) if len(past_states) else 0
        return candidates, states, (1 - self.alpha) * p - self.alpha * similarity

    def next_tokens(self, task):
        """Return the candidates with their scores."""
        decoding = task.with_samples([0]).start()
        past_states = _prompt_states(task, decoding.session)
        tokens, _, scores = self._scored(decoding, decoding.next().logits[0], past_states)
        best = np.argsort(-scores, kind="stable")
        return dict(zip(tokens[best].tolist(), scores[best].tolist(), strict=True))


def _prompt_states(task, session):
    """Return (time, width): unit hidden states at the part of the prompt in the context window.

    Raises:
        ParameterError: the model gives no access to its hidden states.
    """
    if not can(session, "hidden_states"):
        raise ParameterError(
            "contrastive search compares hidden states, which this model does not offer; "
            "choose another decoder"
        )
    length = min(len(task.prompt), task.model.context_length)
    return _unit(session.hidden_states(max(length, 1))[0])[:length]


def _similarities(states, past_states):
    """Return (candidates,): the largest cosine of each state with an earlier one."""
    # Not a matrix product: its last bits depend on the processor, and near ties decide texts.
    return np.array([(past_states * state).sum(axis=-1).max() for state in states])


def _unit(states):
    """Scale states (..., width) to length 1."""
    states = states.astype(np.float64)
    lengths = np.linalg.norm(states, axis=-1, keepdims=True)
    return states / np.maximum(lengths, np.finfo(float).tiny)


@hookimpl
def corelm_decoders():
    return {"contrastive": Contrastive}
