"""Coins: the stages after one act on each outcome, and the chain's result is the mixture."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest
import reference_filters as plain

import corelm
from corelm import Chain, Coin, Context, ParameterError, Sampler, Switch, param, sampler
from corelm.contracts.chain_stages import StageResult, apply
from corelm.decoding.draws import DrawPlan
from corelm.errors import SamplerError
from corelm.testing import ToyModel

P = np.log([0.5, 0.25, 0.15, 0.1])
VOCABULARY = ToyModel(list("abcdefghijklmnopq")).vocabulary
SIZE = len(VOCABULARY)
INF = np.inf


class Cut(Sampler):
    """What `xtc` does where its coin says so, written from the definition."""

    reads = frozenset()
    threshold: float = param(0.1, "the least probability of a good token")

    def __call__(self, logits, context):
        result = logits.copy()
        for row in result:
            p = plain.probabilities(row)
            least = self.threshold * (1 - plain.SLACK)
            good = [i for i in plain.falling_order(row) if p[i] >= least]
            row[good[:-1]] = -INF
        return result


class Shuffle(Coin):
    """With a probability that differs between the rows, heat or cool the row."""

    reads = frozenset()
    p: float = param(0.3, "the probability of heads, times that of the likeliest token")

    def toss(self, logits, context):
        probability = self.p * corelm.softmax(logits).max(axis=-1)
        return probability, logits / 2, logits * 2


class Heat(Sampler):
    """An outcome of `Shuffle`."""

    reads = frozenset()
    factor: float = param(0.5, "of the logits")

    def __call__(self, logits, context):
        return logits * logits.dtype.type(self.factor)


class EvenRows(Switch):
    """Let a sampler act in the rows whose last token is even."""

    acts: Sampler = param(sampler("stochastic"), "acts in even rows")

    def choose(self, context):
        even = context.tokens[:, -1] % 2 == 0
        return [self.acts if each else sampler("top_k(k=4)") for each in even]


def expected(stages, logits, context, weight=1.0):
    """Return the probabilities of one row: toss each coin, and go on with what it says."""
    if not stages:
        return weight * corelm.softmax(logits)[0]
    stage, *rest = stages
    if isinstance(stage, EvenRows):
        [stage] = stage.choose(context)
        return expected([*stage.stages, *rest], logits, context, weight)
    if stage.name == "xtc":
        outcomes = [(stage.probability, Cut(stage.threshold)), (1 - stage.probability, None)]
    elif isinstance(stage, Shuffle):
        p = stage.p * plain.probabilities(logits[0]).max()
        outcomes = [(p, Heat(0.5)), (1 - p, Heat(2.0))]
    else:
        outcomes = [(1.0, stage)]
    total = 0
    for share, outcome in outcomes:
        after = logits if outcome is None else apply(outcome, logits, context)
        total = total + expected(rest, after, context, weight * share)
    return total


COINS = ["xtc(probability=0.5, threshold=0.1)", "xtc(probability=0.2, threshold=0.04)", Shuffle()]
OTHERS = [
    "temperature(t=0.5)", "temperature(t=1.7)", "top_k(k=3)", "top_p(p=0.7)", "min_p(p=0.2)",
    "greedy", "uniform", "typical(p=0.6)", "repetition_penalty(penalty=1.7)", "mirostat(tau=2.0)",
    "presence_penalty(penalty=0.8)", "logit_bias(bias={4: 1.7})", "quadratic(factor=0.4)",
    "dynamic_temperature(t_min=0.3, t_max=2.0)", "top_n_sigma(n=1.0)", "stochastic", Heat(0.7),
]  # fmt: skip


def as_sampler(stage):
    return sampler(stage) if isinstance(stage, str) else stage


def random_chain(chance):
    """A chain of two to six stages with up to three coins, some of them inside a switch."""
    coins = [as_sampler(chance.choice(COINS)) for _ in range(chance.randint(1, 3))]
    others = [as_sampler(chance.choice(OTHERS)) for _ in range(chance.randint(0, 3))]
    stages = chance.sample(coins + others, len(coins + others))
    if chance.random() < 0.4:
        at = chance.randrange(len(stages))
        stages[at:] = [EvenRows(Chain(tuple(stages[at : at + 2]))), *stages[at + 2 :]]
    return Chain(tuple(stages))


def past(rng, batch):
    tokens = rng.integers(3, SIZE, (batch, 4))
    nats = np.where(np.arange(4) < 2, np.nan, rng.exponential(2.0, tokens.shape))
    return Context(tokens, nats, nats, 2, VOCABULARY)


def of_row(context, row):
    """The context of one row."""
    return replace(
        context, tokens=context.tokens[row : row + 1],
        surprisal=context.surprisal[row : row + 1],
        model_surprisal=context.model_surprisal[row : row + 1],
    )  # fmt: skip


def test_xtc_before_a_temperature_is_that_of_the_engines():
    chain = "xtc(probability=0.5, threshold=0.2) | temperature(t=0.5)"
    # Tails: the squares of .5 .25 .15 .1 by their sum, .345. Heads: .25 .15 .1, by .095.
    heads, tails = [0, 0.0625, 0.0225, 0.01], [0.25, 0.0625, 0.0225, 0.01]
    by_hand = [(h / 0.095 + t / 0.345) / 2 for h, t in zip(heads, tails, strict=True)]
    assert corelm.sampling_distribution(chain, P).tolist() == pytest.approx(by_hand)
    # llama.cpp in 200,000 draws
    assert by_hand == pytest.approx([0.362, 0.422, 0.149, 0.068], abs=0.004)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "seeds", [range(150), pytest.param(range(150, 1000), marks=pytest.mark.long)], ids=len
)
def test_random_chains_are_those_of_coins_tossed_one_after_the_other(seeds, dtype):
    for seed in seeds:
        chance, rng = random.Random(seed), np.random.default_rng(seed)
        chain, batch = random_chain(chance), 3
        context = past(rng, batch)
        logits = (rng.normal(size=(batch, SIZE)) * rng.uniform(0.5, 3)).astype(dtype)
        trace: list[StageResult] = []
        result = apply(chain, logits, context, trace)
        assert result.dtype == dtype
        last = trace[-1]
        acts = slice(None) if last.rows is None else last.rows
        assert np.array_equal(last.logits[acts], result[acts])
        for row in range(batch):
            alone, one = logits[row : row + 1], of_row(context, row)
            # A row is the same in any batch, to the last bit.
            assert np.array_equal(apply(chain, alone, one)[0], result[row]), (seed, str(chain))
            np.testing.assert_allclose(
                corelm.softmax(result)[row],
                expected(chain.stages, alone, one),
                atol=1e-5 if dtype == np.float32 else 1e-9,
                err_msg=f"{seed}: {chain}",
            )


PAIRS = list(itertools.product([*map(str, OTHERS[:-1]), "ban(words=['d'])", "min_length(n=9)"],
                               repeat=2))  # fmt: skip


def test_each_pair_of_stages_with_a_coin_between():
    rng = np.random.default_rng(7)
    coin, context = sampler(COINS[0]), past(rng, 1)
    for first, last in PAIRS:
        logits = rng.normal(size=(1, SIZE)) * 2
        chain = sampler(first) | coin | sampler(last)
        found = corelm.softmax(apply(chain, logits, context))[0]
        by_hand = expected(chain.stages, logits, context)
        np.testing.assert_allclose(found, by_hand, atol=1e-9, err_msg=str(chain))


def test_a_mask_is_kept_on_each_outcome():
    chain = sampler("xtc(probability=0.5, threshold=0.2) | top_k(k=1) | ban(words=[1])")
    trace: list[StageResult] = []
    result = apply(chain, P[None], Context.of([[0]]), trace)
    # Heads keeps token 1 alone, which is banned: the model's likeliest, token 0, stays.
    assert corelm.softmax(result).tolist() == [[1, 0, 0, 0]]
    assert trace[-1].fell_back.tolist() == [True]
    assert trace[-1].allowed.tolist() == [[True, False, True, True]]


def test_each_stage_of_a_trace_has_the_mixture():
    steps = corelm.explain(
        ToyModel(), "the", sampler="xtc(probability=0.5, threshold=0.1) | temperature(t=0.5)"
    ).stages
    whole = [step.distribution for step in steps]
    for count, distribution in enumerate(whole[1:], 1):
        chain = Chain(tuple(step.sampler for step in steps[1 : count + 1]))
        alone = corelm.sampling_distribution(chain, steps[0].logits)
        np.testing.assert_allclose(distribution, alone, atol=1e-6)


def test_a_row_without_a_second_outcome_keeps_its_logits():
    chain = sampler("xtc(probability=0.5) | temperature(t=1.0) | min_p(p=0.01)")
    rows = np.log([[0.9, 0.05, 0.05], [0.4, 0.4, 0.2]])
    result = apply(chain, rows, Context.of([[0], [0]]))
    assert result[0].tolist() == rows[0].tolist()


def test_a_chain_tosses_few_coins():
    coin = sampler("xtc(probability=0.5)")
    assert len(Chain((coin,) * 4).stages) == 4
    with pytest.raises(ParameterError, match=r"at most 4 coins; leave out one: xtc\(.*xtc\("):
        Chain((coin,) * 5)
    inside = EvenRows(Chain((coin,) * 2))
    with pytest.raises(ParameterError, match="at most 4 coins"):
        Chain((inside, inside, coin))
    assert Chain((sampler("xtc"),) * 9)  # neutral ones toss none


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "None instead of a probability, heads and tails at step 0"),
        ((np.array([1.5]), P[None], P[None]), "a probability outside 0 to 1"),
        ((np.array([np.nan]), P[None], P[None]), "a probability outside 0 to 1"),
        ((0.5, P[None], P[None]), "0.5 instead of an array of 1 probabilities"),
        ((np.array([0.5]), P, P[None]), r"returned the shape \(4,\) instead of \(1, 4\)"),
        ((np.array([0.5]), P[None], P[None] * np.nan), "returned NaN"),
    ],
)
def test_a_faulty_coin_is_named(result, message):
    class Faulty(Coin):
        """Toss anything."""

        def toss(self, logits, context):
            return result

    with pytest.raises(SamplerError, match=f"faulty .*{message}"):
        apply(Faulty() | sampler("top_k(k=2)"), P[None], Context.of([[0]]))
    with pytest.raises(corelm.CorelmError, match="faulty"):
        apply(Faulty(), P[None], Context.of([[0]]))


class Hides(Switch):
    """Choose a coin that isn't among the parameters."""

    def choose(self, context):
        return [sampler("xtc(probability=0.5, threshold=0.1)")] * context.batch


def test_a_coin_that_a_switch_hides_is_refused():
    with pytest.raises(SamplerError, match=r"hides chose xtc\(.*declare it as one"):
        apply(Hides() | sampler("top_k(k=3)"), P[None], Context.of([[0]]))


def test_a_plan_draws_from_the_mixture():
    rng = np.random.default_rng(1)
    context, logits = past(rng, 4), rng.normal(size=(4, SIZE)).astype(np.float32)
    inside = Chain((sampler(COINS[0]), sampler("temperature(t=0.5)")))
    phase = sampler("phase", start="a", end="b", inside=inside, outside=inside)
    for chain in (inside, phase, EvenRows(COINS[0]) | sampler("top_k(k=3)"), phase | Heat(2.0)):
        drawn = DrawPlan(chain, VOCABULARY).draw(logits.copy(), rng.random(4), lambda: context)
        assert np.array_equal(drawn.logits, apply(chain, drawn.model_logits, context))


def test_other_libraries_toss_coins_too():
    torch = pytest.importorskip("torch", reason="pip install torch")
    for chain in ("xtc(probability=0.5) | temperature(t=0.5)", "xtc(probability=0.3) | top_k(k=1)"):
        rows = torch.log(torch.tensor([[0.5, 0.25, 0.15, 0.1], [0.97, 0.01, 0.01, 0.01]]))
        rows.requires_grad_(True)
        result = corelm.softmax(sampler(chain)(rows, Context.of([[0], [0]])))
        alone = corelm.sampling_distribution(chain, rows.detach().numpy())
        np.testing.assert_allclose(result.detach().numpy(), alone, atol=1e-6)
        result[:, 1].sum().backward()
        assert torch.isfinite(rows.grad).all()
