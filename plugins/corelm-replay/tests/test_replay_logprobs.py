"""Log-probabilities of drawn tokens: NumPy, torch and JAX, and their gradients."""

import numpy as np
import pytest
from corelm_replay import KeptSets, chain_logprobs, record
from corelm_replay.ratios import trainer_logits
from replay_cases import CHAINS, KINDS, Ends, drawn_batch

import corelm
from corelm.errors import ModelOutputError, UsageError

WIDE = 1e-9
"""Float64 rounding over some thirteen logits."""


def replay(chain, logits, tokens, mask, **options):
    options = {"vocabulary": Ends(logits.shape[-1]), "block": 13 * 2} | options
    return chain_logprobs(chain, logits, tokens, prompt_length=4, mask=mask, **options)


@pytest.mark.parametrize("chain", CHAINS)
def test_it_is_what_each_draw_reported(chain):
    logits, tokens, mask, drawn_with = drawn_batch(chain)
    found = replay(chain, logits, tokens, mask)
    assert found.shape == drawn_with.shape
    np.testing.assert_allclose(found, drawn_with, atol=WIDE)


@pytest.mark.engines("torch")
@pytest.mark.parametrize("chain", CHAINS)
def test_torch_has_the_values_of_numpy_and_the_gradient_of_finite_differences(chain):
    import torch

    logits, tokens, mask, drawn_with = drawn_batch(chain)
    array = torch.tensor(logits, requires_grad=True)
    found = replay(chain, array, torch.tensor(tokens), torch.tensor(mask))
    np.testing.assert_allclose(found.detach().numpy(), drawn_with, atol=WIDE)
    weights = np.random.default_rng(2).normal(size=drawn_with.shape)
    (found * torch.tensor(weights)).sum().backward()
    check_gradient(chain, (logits, tokens, mask), weights, array.grad.numpy())


NEED_VALUES = "mirostat", "ban", "gumbel_max"
"""The chains that jax.jit can't compile, since they read the values of the logits."""


@pytest.mark.long
@pytest.mark.engines("jax")
@pytest.mark.parametrize("chain", KINDS)
def test_jax_has_the_values_of_numpy_and_the_gradient_of_finite_differences(chain):
    import jax

    with jax.enable_x64(True):
        logits, tokens, mask, drawn_with = drawn_batch(chain)

        def work(array):
            return replay(chain, array, tokens, mask, block=10**6)

        compiled = work if chain.startswith(NEED_VALUES) else jax.jit(work)
        found, gradient_of = jax.vjp(compiled, jax.numpy.asarray(logits))
        np.testing.assert_allclose(found, drawn_with, atol=WIDE)
        weights = np.random.default_rng(2).normal(size=drawn_with.shape)
        [gradient] = gradient_of(jax.numpy.asarray(weights))
    check_gradient(chain, (logits, tokens, mask), weights, np.asarray(gradient))


def check_gradient(chain, batch, weights, gradient, step=1e-6):
    """Compare a gradient with central differences in NumPy's float64, at some logits."""
    logits, tokens, mask = batch
    nats = surprisals_of(chain, batch)

    def loss(changed):
        return (replay(chain, changed, tokens, mask, **nats) * weights).sum()

    rng = np.random.default_rng(3)
    drawn = np.argwhere(mask[:, 4:])
    for row, at in drawn[rng.permutation(len(drawn))[:3]]:
        for token in {int(tokens[row, 4 + at]), *rng.permutation(logits.shape[-1])[:4].tolist()}:
            change = np.zeros_like(logits)
            change[row, at, token] = step
            difference = (loss(logits + change) - loss(logits - change)) / (2 * step)
            assert gradient[row, at, token] == pytest.approx(difference, abs=2e-6)


def surprisals_of(chain, batch):
    """Return the history that a change of the logits must not change: it is a constant."""
    logits, tokens, mask = batch
    return {
        "surprisal": -replay(chain, logits, tokens, mask),
        "model_surprisal": -replay("stochastic", logits, tokens, mask),
    }


@pytest.mark.engines("torch")
def test_a_grammar_is_replayed_with_a_gradient():
    import torch

    model = corelm.load("gpt2")
    chain = "regex(pattern=' (good|bad)( film| movie)+') | top_p(p=0.9)"
    rollouts = record(model, ["This is a"], sampler=chain, length=6, n=3, seed=1)
    logits = torch.tensor(trainer_logits(model, rollouts), requires_grad=True)
    where = {"prompt_length": rollouts.prompt_length, "mask": rollouts.mask}
    found = chain_logprobs(chain, logits, rollouts.tokens, vocabulary=model.vocabulary, **where)
    np.testing.assert_allclose(found.detach(), rollouts.logprobs, atol=1e-5)
    found.sum().backward()
    assert logits.grad.isfinite().all()
    kept = logits.grad != 0  # only the tokens that the grammar and top_p allow
    assert kept.sum(dim=-1).max() <= rollouts.kept_size.max() < 10


def test_a_token_outside_the_kept_set_has_minus_infinity():
    logits = np.log([[[0.5, 0.3, 0.2]]])
    found = chain_logprobs("top_k(k=2)", logits, [[0, 2]], prompt_length=1)
    assert found.tolist() == [[-np.inf]]


@pytest.mark.engines("torch")
def test_its_gradient_is_finite():
    import torch

    logits = torch.tensor([[[2.0, 1.0, 0.0]]], requires_grad=True)
    found = chain_logprobs("top_k(k=2)", logits, [[0, 2]], prompt_length=1)
    found.exp().sum().backward()  # a ratio of 0
    assert logits.grad.isfinite().all()


def test_blocks_of_any_size_give_the_same():
    chain = "repetition_penalty(penalty=1.3) | mirostat(tau=2.5)"
    logits, tokens, mask, _ = drawn_batch(chain)
    whole = replay(chain, logits, tokens, mask, block=10**9)
    assert np.array_equal(whole, replay(chain, logits, tokens, mask, block=1))


def test_recorded_surprisals_take_the_place_of_computed_ones():
    logits, tokens, mask, _ = drawn_batch("mirostat(tau=2.5)")
    low = np.zeros(logits.shape[:2])  # certain tokens raise mu, so that mirostat keeps all
    found = replay("mirostat(tau=2.5, eta=50)", logits, tokens, mask, surprisal=low)
    free = replay("stochastic", logits, tokens, mask)
    np.testing.assert_allclose(found[:, 1:], free[:, 1:], atol=WIDE)


def test_a_full_output_without_its_last_position_fits():
    logits, tokens, mask, drawn_with = drawn_batch("top_k(k=4)")
    full = np.concatenate([np.zeros((3, 3, 13)), logits], axis=1)
    found = replay("top_k(k=4)", full, tokens, mask)
    assert not found[:, :3].any()
    np.testing.assert_allclose(found[:, 3:], drawn_with, atol=WIDE)


def test_a_prompt_length_for_each_row():
    logits, tokens, mask, drawn_with = drawn_batch("top_k(k=4)")
    found = chain_logprobs("top_k(k=4)", logits, tokens, prompt_length=[4, 5, 4], mask=mask)
    expected = drawn_with.copy()
    expected[1, 0] = 0  # prompt, too
    np.testing.assert_allclose(found, expected, atol=WIDE)


@pytest.mark.engines("torch")
def test_half_precision_is_computed_in_single():
    import torch

    logits, tokens, mask, _ = drawn_batch("top_k(k=4)")
    narrow = torch.tensor(logits).bfloat16().requires_grad_()
    found = replay("top_k(k=4)", narrow, tokens, mask)
    single = replay("top_k(k=4)", narrow.detach().float(), tokens, mask)
    assert found.dtype == torch.float32
    assert torch.equal(found, single)
    found[found > -np.inf].sum().backward()
    assert narrow.grad.dtype == torch.bfloat16


@pytest.mark.engines("jax")
def test_a_chain_that_needs_values_is_refused_by_a_compiler():
    import jax

    logits, tokens, mask, _ = drawn_batch("mirostat(tau=2)")
    with pytest.raises(UsageError, match="recorded surprisals"):
        jax.jit(lambda array: replay("mirostat(tau=2)", array, tokens, mask))(logits)


class Doubled(corelm.Sampler):
    """Only for NumPy, and more than a removal."""

    reads = frozenset()

    def __call__(self, logits, context):
        return np.multiply(np.asarray(logits), 2)


class FirstTwo(corelm.Sampler):
    """Only for NumPy, but it only removes tokens."""

    reads = frozenset()

    def __call__(self, logits, context):
        return np.where(np.arange(logits.shape[1]) < 2, np.asarray(logits), -np.inf)


@pytest.mark.engines("torch")
def test_a_filter_in_numpy_has_a_gradient_and_other_samplers_in_numpy_say_that_they_have_none():
    import torch

    logits = torch.ones((1, 1, 3), dtype=torch.float64, requires_grad=True)
    found = chain_logprobs(FirstTwo(), logits, [[0, 1]], prompt_length=1)
    found.sum().backward()
    assert logits.grad.tolist() == [[[-0.5, 0.5, 0.0]]]
    doubled = chain_logprobs(Doubled(), logits, [[0, 1]], prompt_length=1)
    with pytest.raises(UsageError, match="doubled has no gradient"):
        doubled.sum().backward()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": np.zeros((1, 3, 4))}, "drop the last one"),
        ({"tokens": [[0, 1]]}, "do not fit tokens"),
        ({"mask": [[1, 1]]}, "mask must be"),
        ({"tokens": [[0, 1, 9]]}, "outside the vocabulary"),
        ({"prompt_length": 7}, "prompt_length must be 0 to 3"),
        ({"kept": KeptSets.of([[[1], [1]]])}, "isn't in its set"),
        ({"kept": KeptSets.of([[[1]]])}, "1 positions, row 0 has 2"),
        ({"kept": KeptSets.of([])}, "0 texts, not of 1"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    whole = {"logits": np.zeros((1, 2, 4)), "tokens": [[0, 1, 2]], "prompt_length": 1}
    whole |= change
    if "tokens" in change and len(change["tokens"][0]) == 2:
        whole["logits"] = np.zeros((1, 3, 4))
    with pytest.raises(UsageError, match=message):
        chain_logprobs("stochastic", whole.pop("logits"), whole.pop("tokens"), **whole)


@pytest.mark.parametrize("chain", ["stochastic", "top_k(k=2)", "greedy", "temperature(t=0.5)"])
@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_distribution_are_refused(chain, fault):
    logits = np.zeros((2, 3, 4), dtype=np.float32)
    logits[1, 2] = fault if fault < 0 else [0, 0, fault, 0]
    tokens = [[0, 1, 2, 3]] * 2
    with pytest.raises(ModelOutputError) as caught:
        chain_logprobs(chain, logits, tokens, prompt_length=1)
    assert str(caught.value) == (
        "the logits in row 1, position 2, are no distribution: "
        "NaN, +infinity, or all minus infinity"
    )
    padded = np.array([[1, 1, 1, 1], [1, 1, 1, 0]])  # nobody drew a token there
    assert np.isfinite(
        chain_logprobs("stochastic", logits, tokens, prompt_length=1, mask=padded)
    ).all()
