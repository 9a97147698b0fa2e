"""The decoders' test kit: every law catches a bad decoder written on purpose."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from faulty import complaint
from scipy import stats

import corelm
from corelm import Ancestral, Decoder, RandomStream, draw, surprisals
from corelm.errors import UsageError
from corelm.testing import LAWS, ToyModel, g_test, obeys_the_laws, text_probabilities
from corelm.testing.decoder_laws import (
    draws_possible_tokens,
    ends_each_text,
    ignores_the_seed_if_deterministic,
    matches_ancestral_sampling,
    repeats_its_texts,
    reports_what_it_drew_from,
    treats_samples_alone,
    writes_nothing_when_nothing_is_asked,
)


@obeys_the_laws(Ancestral())
def test_the_built_in_decoder_obeys_every_law(decoder, law):
    law(decoder)


# Bad decoders, each with one fault


class OwnRandomness(Decoder):
    def __call__(self, task):
        seed = int(np.random.default_rng().integers(2**32))
        stream = RandomStream(seed, task.random_stream.samples)
        yield from Ancestral()(replace(task, random_stream=stream))


class GlobalRandomness(Decoder):
    """The coin changes nothing here; that it is thrown is the fault."""

    def __call__(self, task):
        np.random.random()
        yield from Ancestral()(task)


class CountsRows(Decoder):
    def __call__(self, task):
        rows = range(len(task.random_stream))
        stream = RandomStream(task.random_stream.seed, rows)
        yield from Ancestral()(replace(task, random_stream=stream))


class WritesPastTheEnd(Decoder):
    def __call__(self, task):
        if task:
            decoding = task.start()
            for _ in range(task.length):
                yield decoding.draw()
                decoding.advance()


class StopsEarly(Decoder):
    def __call__(self, task):
        yield from Ancestral()(replace(task, length=min(task.length, 4)))


class WritesOneTokenAtLeast(Decoder):
    def __call__(self, task):
        yield from Ancestral()(replace(task, length=max(task.length, 1)))


class Chooses(Decoder):
    """Ancestral sampling, but for a change of the logits drawn from or of those reported."""

    def drawn_from(self, model_logits, logits):
        return logits

    def reported(self, model_logits, logits):
        return logits

    def __call__(self, task):
        decoding = task.start() if task else None
        for position in range(task.length if task else 0):
            found = decoding.next()
            both = found.model_logits, found.logits
            uniforms = task.random_stream.at(position, decoding.samples)
            tokens = draw(self.drawn_from(*both), uniforms)[0]
            reported = self.reported(*both)
            nats = surprisals(reported, tokens)
            yield corelm.Step(
                position, decoding.samples, tokens, both[0], reported, nats, found.allowed,
                found.fell_back,
            )  # fmt: skip
            unfinished = ~decoding.is_end(tokens)
            if not unfinished.any():
                return
            decoding.select(unfinished)
            decoding.advance(tokens[unfinished])


class DrawsFromTheModel(Chooses):
    def drawn_from(self, model_logits, logits):
        return model_logits


class ReportsTheModel(Chooses):
    def reported(self, model_logits, logits):
        return model_logits


class Flattens(Chooses):
    is_ancestral = True

    def drawn_from(self, model_logits, logits):
        return logits / 2


class SaysThatItIsDeterministic(Chooses):
    is_deterministic = True


@pytest.mark.parametrize(
    ("decoder", "laws"),
    [
        (OwnRandomness(), {repeats_its_texts, treats_samples_alone}),
        (GlobalRandomness(), {repeats_its_texts}),
        (CountsRows(), {treats_samples_alone}),
        (WritesPastTheEnd(), {ends_each_text}),
        (StopsEarly(), {ends_each_text}),
        (WritesOneTokenAtLeast(), {writes_nothing_when_nothing_is_asked}),
        (Chooses(), set()),
        (DrawsFromTheModel(), {draws_possible_tokens}),
        (ReportsTheModel(), {reports_what_it_drew_from}),
        (Flattens(), {matches_ancestral_sampling}),
        (SaysThatItIsDeterministic(), {ignores_the_seed_if_deterministic}),
    ],
    ids=lambda value: "" if isinstance(value, set) else repr(value),  # sets show addresses
)
def test_a_fault_is_caught_by_its_law_and_no_other(decoder, laws):
    assert {law for law in LAWS["decoder"] if complaint(law, decoder)} == laws


def test_a_complaint_says_what_is_wrong_for_which_task_and_the_way_out():
    assert complaint(ends_each_text, StopsEarly()) == (
        "StopsEarly() stopped after 4 tokens without an end token (asked for samples [0, 1] of "
        "seed 5 with unchanged and length 5). Drop the rows where `decoding.is_end(tokens)` is "
        "true, and stop at `task.length`."
    )


@pytest.mark.slow
def test_a_model_of_ones_own():
    class NeedsAnotherModel(Ancestral):
        def __call__(self, task):
            assert len(task.model.vocabulary) == 13, "asked with another model"
            yield from super().__call__(task)

    for law in LAWS["decoder"]:
        law(NeedsAnotherModel(), model=ToyModel())
    with pytest.raises(AssertionError, match="asked with another model"):
        repeats_its_texts(NeedsAnotherModel())


@pytest.mark.parametrize("decoders", [(), (Ancestral,), (Ancestral(), corelm.sampler("greedy"))])
def test_only_decoders_are_examined(decoders):
    with pytest.raises(UsageError, match="obeys_the_laws"):
        obeys_the_laws(*decoders)


# Enumeration


@pytest.mark.parametrize("sampler", ["stochastic", "repetition_penalty(penalty=1.5)", "greedy"])
def test_the_probabilities_of_all_texts_are_those_of_their_tokens(sampler):
    model = ToyModel(["a", "b"], np.random.default_rng(1).normal(size=(5, 5)))
    found = text_probabilities(model, "a", sampler=sampler, length=2)
    expected = {}
    for text in [(2,), *product((3, 4), (2, 3, 4))]:
        p, read = 1.0, [3]
        for token in text:
            logits = model.start([read]).next_logits()
            logits[:, :2] = -np.inf
            p *= corelm.sampling_distribution(corelm.sampler(sampler), logits, read)[0, token]
            read = [*read, token]
        expected[text] = p
    assert found == pytest.approx({text: p for text, p in expected.items() if p > 0})
    assert sum(found.values()) == pytest.approx(1, abs=1e-12)


def test_no_token_leaves_the_empty_text():
    assert text_probabilities(ToyModel(), "the", sampler="greedy", length=0) == {(): 1.0}


@pytest.mark.parametrize("cells", [2, 5, 40])
def test_the_g_test_is_that_of_scipy(cells):
    rng = np.random.default_rng(cells)
    p = rng.dirichlet(np.full(cells, 5.0))
    for _ in range(20):
        counts = rng.multinomial(5000, p * 0.97 + 0.03 / cells)
        expected = stats.power_divergence(counts, p * 5000, lambda_="log-likelihood").pvalue
        ours = g_test({(i,): n for i, n in enumerate(counts)}, {(i,): q for i, q in enumerate(p)})
        assert ours == pytest.approx(expected, abs=0.05 if cells == 2 else 0.005)


def test_an_impossible_outcome_and_the_only_one():
    assert g_test({(1,): 5, (2,): 1}, {(1,): 1.0}) == 0
    assert g_test({(1,): 5}, {(1,): 1.0}) == 1
