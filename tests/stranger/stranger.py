"""A decoder, a model of ten lines, a wrapped model and a metric, by public names alone."""

import numpy as np

import corelm
from corelm.abilities import SessionWrapper


class SecondThought(corelm.Decoder):
    """Draw a text, go back to its middle, and write the rest again, as it was."""

    def __call__(self, task):
        if not task:
            return
        alone = (task.with_samples([sample]) for sample in task.random_stream.samples)
        texts = [[int(step.tokens[0]) for step in self._drawn(one)] for one in alone]
        yield from task.replay(texts)

    def _drawn(self, task):
        decoding, steps = task.start(), []
        while len(steps) < task.length:
            steps.append(decoding.draw())
            if decoding.is_end(steps[-1].tokens)[0]:
                break
            decoding.advance()
        middle = len(steps) // 2
        if len(decoding.context.drawn[0]) > middle:
            decoding.rewind(len(decoding.context.drawn[0]) - middle)
        again = task.start(decoding.context)
        for step in steps[middle:]:
            assert np.array_equal(again.draw().tokens, step.tokens)
            again.advance()
        return steps

    is_ancestral = True


class Alphabet:
    """The next letter of the alphabet is likely; there is no session, nor an end."""

    context_length = 8

    class vocabulary:  # noqa: N801
        encode = staticmethod(lambda text: ["abc".index(letter) for letter in text])
        decode = staticmethod(lambda ids: "".join("abc"[i] for i in ids))
        __len__ = lambda self: 3  # noqa: E731

    vocabulary = vocabulary()

    def next_token_distribution(self, tokens):
        p = np.full((len(tokens), 3), 0.1)
        p[np.arange(len(tokens)), (np.asarray(tokens)[:, -1] + 1) % 3] = 0.8
        return p


class Counted:
    """A model that counts what its sessions read, and keeps their abilities."""

    def __init__(self, model):
        self.model, self.tokens = model, 0
        self.vocabulary, self.context_length = model.vocabulary, model.context_length
        self.next_token_distribution = model.next_token_distribution

    def start(self, tokens):
        model = self

        class Session(SessionWrapper):
            def extend(self, tokens):
                model.tokens += np.size(tokens)
                super().extend(tokens)

        return Session(self.model.start(tokens))


class Longest(corelm.SetMetric):
    """The characters of the longest text."""

    meaning = "the characters of the longest text"

    def figure(self, tokens, texts):
        return float(max(map(len, texts)))


@corelm.hookimpl
def corelm_decoders():
    return {"second_thought": SecondThought}


@corelm.hookimpl
def corelm_models():
    return {"alphabet": Alphabet}


@corelm.hookimpl
def corelm_metrics():
    return {"longest": Longest}
