"""The kernels say what NumPy says, the same in any batch and on any thread, and refuse the rest."""

from __future__ import annotations

import functools
import inspect
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from corelm import native
from corelm.model.networks import default as networks
from corelm.model.networks import layers
from corelm.model.networks.graph import INPUT, Graph, plan
from corelm.native import rows as native_rows
from corelm.native.cpu import cpu_limit
from corelm.native.interface import Kernels
from corelm.numerics import distributions, filters
from corelm.numerics.distributions import (
    apply_temperature,
    draw,
    draw_checked,
    mask_tokens,
    min_and_shannon_entropy,
    rows_are_valid,
    softmax,
    surprisals,
)
from corelm.numerics.filters import top_k, top_p, typical

INF = np.float32("inf")
compiled = pytest.mark.skipif(native.kernels is None, reason="the kernels are not compiled here")
pytestmark = compiled
"""`.ci/run` refuses an installation without kernels where there is a C compiler."""


@pytest.fixture(params=[8, 16], autouse=True, scope="module")
def lanes(request):
    """All of this with vectors of so many floats."""
    if native.kernels.use_vector_width(request.param) != request.param:
        pytest.skip("this processor has no vectors of so many floats")
    yield
    native.kernels.use_vector_width(16)


finite = st.floats(-50, 50, width=32)
logit = st.one_of(
    finite, st.sampled_from([0.0, 1.0, -INF, -1e30, 3e38, -3e38, 1e-40, 2.0**-149]), finite
)


@st.composite
def rows(draw_from):
    """(batch, vocabulary) logits with ties, impossible tokens and numbers at the ends."""
    shape = draw_from(st.tuples(st.integers(1, 4), st.sampled_from([1, 2, 7, 8, 9, 127, 130, 300])))
    logits = draw_from(arrays(np.float32, shape, elements=logit))
    logits[np.isneginf(logits).all(axis=1), 0] = 0
    return logits


def in_numpy(function, *arguments, **options):
    """What a function says without the kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "kernels", None)
        return function(*arguments, **options)


def random_rows(batch, vocabulary, spread=4.0, seed=0):
    rng = np.random.default_rng(seed)
    return (spread * rng.standard_normal((batch, vocabulary))).astype(np.float32)


# distributions


@given(rows())
def test_a_row_with_a_finite_logit_is_a_distribution(logits):
    assert rows_are_valid(logits)
    logits[-1] = -INF
    assert not rows_are_valid(logits)


@pytest.mark.parametrize("place", [0, 6, 8, 129, 299])
@pytest.mark.parametrize("strange", [np.nan, np.inf])
def test_what_is_no_logit_is_found_wherever_it_is(place, strange):
    logits = random_rows(3, 300)
    logits[1, place] = strange
    assert not rows_are_valid(logits)
    assert not mask_tokens(logits, np.array([], dtype=np.int64))
    assert not mask_tokens(logits, np.array([place]))  # as the model's own logits


@pytest.mark.parametrize("size", [1, 8, 300])
def test_what_is_no_distribution_at_all_is_not_looked_for_outside_its_row(size):
    """Whatever is said of it."""
    logits = np.full((2, size), np.nan, np.float32)
    assert [len(found) for found in min_and_shannon_entropy(logits)] == [2, 2]
    found = np.empty((2, 1, 3))
    native.kernels.moments(logits, np.ones(1), found)
    known, tokens = np.zeros((2, 4)), np.zeros(2, dtype=np.int64)
    native.kernels.divergence(logits, logits, known, tokens, np.empty((2, 8)))


@given(rows(), st.sets(st.integers(0, 299)))
def test_logits_without_some_tokens(logits, tokens):
    never = np.array(sorted(t for t in tokens if t < logits.shape[1]), dtype=np.int64)
    found, expected = logits.copy(), logits.copy()
    assert mask_tokens(found, never) == in_numpy(mask_tokens, expected, never)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("way", ["kernels", "NumPy"])
def test_logits_are_masked_in_place(way):
    logits, never = random_rows(3, 300), np.array([0, 7])
    before = logits.copy()
    remove = mask_tokens if way == "kernels" else functools.partial(in_numpy, mask_tokens)
    assert remove(logits, never)
    assert (logits[:, never] == -INF).all()
    before[:, never] = -INF
    assert np.array_equal(logits, before)


@pytest.mark.parametrize("way", ["kernels", "NumPy"])
def test_a_row_that_is_not_a_distribution_is_left_as_it_is(way):
    logits = random_rows(3, 300)
    logits[1, 7] = np.nan
    before = logits.copy()
    remove = mask_tokens if way == "kernels" else functools.partial(in_numpy, mask_tokens)
    assert not remove(logits, np.array([7]))
    assert np.array_equal(logits[1], before[1], equal_nan=True)


@given(rows(), st.sampled_from([0.1, 0.7, 1.5, 1e-20, 1e20]))
def test_temperatures(logits, t):
    assert np.array_equal(apply_temperature(logits, t), in_numpy(apply_temperature, logits, t))


@given(rows())
def test_entropies(logits):
    for found, expected in zip(
        min_and_shannon_entropy(logits), in_numpy(min_and_shannon_entropy, logits), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


def test_the_entropy_of_a_row_that_is_all_but_certain_is_not_lost():
    logits = np.array([[0.0, -60.0, -70.0]], np.float32)
    least, usual = min_and_shannon_entropy(logits)
    rest = np.exp(-60) + np.exp(-70)
    assert least[0] == pytest.approx(rest, rel=1e-6)
    assert usual[0] == pytest.approx(rest + 60 * np.exp(-60) + 70 * np.exp(-70), rel=1e-5)


@given(rows(), st.randoms(use_true_random=False))
def test_surprisals(logits, random):
    tokens = np.array([random.randrange(logits.shape[1]) for _ in logits])
    np.testing.assert_allclose(
        surprisals(logits, tokens), in_numpy(surprisals, logits, tokens), rtol=2e-6, atol=2e-6
    )


@given(rows(), st.floats(0, 1, exclude_max=True))
def test_what_is_drawn_is_possible_and_its_slice_holds_the_luck(logits, luck):
    tokens, surprisal = draw(logits, np.full(len(logits), luck))
    p = softmax(logits.astype(np.float64))
    drawn = np.arange(len(logits)), tokens
    reached = np.cumsum(p, axis=1)
    assert (logits[drawn] > -INF).all()
    assert (reached[drawn] >= luck - 1e-6).all()
    assert (reached[drawn] - p[drawn] <= luck + 1e-6).all()
    np.testing.assert_allclose(
        surprisal, in_numpy(surprisals, logits, tokens), rtol=2e-6, atol=2e-6
    )


@pytest.mark.parametrize("strange", [np.nan, np.inf, -INF])
@pytest.mark.parametrize("way", ["kernels", "NumPy"])
def test_a_draw_sees_what_is_no_distribution(strange, way):
    sees = draw_checked if way == "kernels" else functools.partial(in_numpy, draw_checked)
    logits, luck = random_rows(3, 300), np.full(3, 0.5)
    assert sees(logits, luck)[2]
    logits[1, 7 if strange != -INF else slice(None)] = strange
    assert not sees(logits, luck)[2]


def test_the_ends_of_luck_draw_the_first_and_the_last_possible_token():
    logits = np.full((2, 400), -INF)
    logits[:, [130, 131, 260]] = 0.0
    almost_one = np.nextafter(1.0, 0.0)
    assert draw(logits, np.array([0.0, almost_one]))[0].tolist() == [130, 260]


@given(rows(), st.sampled_from([0, 1e-9, 0.1, 0.5, 0.9, 0.999, 1 - 1e-9]))
def test_a_nucleus_has_the_mass_and_no_token_more(logits, p):
    """Exponentials differ in their last bit: so may what is just enough."""
    found = top_p(logits, p)
    for row, out in zip(logits, found, strict=True):
        kept = out > -INF
        assert np.array_equal(out[kept], row[kept])
        order = np.argsort(-row, kind="stable")
        count = int(kept.sum())
        assert np.array_equal(
            np.sort(order[:count]), np.flatnonzero(kept)
        )  # a prefix, low ids first
        mass = np.cumsum(softmax(row.astype(np.float64))[order])
        possible = int((row > -INF).sum())
        assert mass[count - 1] >= p - 1e-6 or count == possible
        assert count == 1 or mass[count - 2] < p + 1e-6


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("spread", [0.01, 1.0, 4.0, 20.0])
def test_a_nucleus_is_that_of_numpy(p, spread):
    logits = random_rows(8, 15000, spread)
    found, expected = top_p(logits, p) > -INF, in_numpy(top_p, logits, p) > -INF
    assert (found != expected).sum() <= 1


@given(rows(), st.integers(1, 300))
def test_the_largest_are_those_of_numpy(logits, k):
    k = min(k, logits.shape[1])
    assert np.array_equal(top_k(logits, k), in_numpy(top_k, logits, k))


@pytest.mark.parametrize("k", [1, 2, 40, 943, 944, 945, 5000, 14999, 15000])
@pytest.mark.parametrize("distinct", [2, 50, 10**9])
def test_the_largest_of_a_vocabulary_are_those_of_numpy(k, distinct):
    """With few distinct numbers, most of them tie; there are zeros of both signs among them."""
    rng = np.random.default_rng(0)
    logits = rng.integers(-distinct, distinct, (3, 15000)).astype(np.float32) * np.float32(-0.0625)
    logits[1, ::3] = -INF
    assert np.array_equal(top_k(logits, k), in_numpy(top_k, logits, k))


@pytest.mark.parametrize("strange", [np.nan, np.inf])
@pytest.mark.parametrize("filter_", [top_p, typical, lambda rows, _: top_k(rows, 40)])
def test_what_filters_make_of_no_distribution_is_of_its_logits(filter_, strange):
    """Whatever it is: such a logit stands among others that are larger than all elsewhere."""
    logits = random_rows(64, 15000)
    logits[:, 640:768] += 100
    logits[:, 700] = strange
    kept = filter_(logits, 0.9)
    assert np.array_equal(kept[kept > -INF], logits[kept > -INF])


# layers


@pytest.mark.parametrize("units", [1, 16, 37, 500])
@pytest.mark.parametrize("inputs", [1, 8, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_product_is_that_of_numpy_and_the_same_for_any_number_of_tokens(units, inputs, dtype):
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((inputs, units)).astype(dtype).astype(np.float32)
    bias = rng.standard_normal(units, dtype=np.float32)
    x = rng.standard_normal((64, 1, inputs), dtype=np.float32)
    linear = layers.Linear(kernel, bias)
    whole = linear(x)
    np.testing.assert_allclose(whole, x @ kernel + bias, rtol=1e-4, atol=1e-4)
    for tokens in range(1, 20):
        assert np.array_equal(linear(x[:tokens]), whole[:tokens])


@pytest.mark.parametrize("activation", layers.ACTIVATIONS)
@pytest.mark.parametrize("units", [16, 21])
def test_what_follows_a_product_is_that_of_numpy(activation, units):
    rng = np.random.default_rng(6)
    kernel = rng.standard_normal((12, units), dtype=np.float32)
    x, add = rng.standard_normal((7, 2, 12), "f4"), rng.standard_normal((7, 2, units), "f4")

    def layer():
        return layers.Linear(kernel, activation=activation)(x, add)

    np.testing.assert_allclose(layer(), in_numpy(layer), rtol=1e-4, atol=1e-4)


def test_numbers_that_halves_cannot_hold_are_kept_whole():
    columns = np.array([[1.0, 1 / 3], [2.0**-24, 65504.0]], np.float32)
    halves = np.empty((1, 2, native.kernels.PANEL), np.float16)
    assert native.kernels.pack(columns[1:], halves)
    assert not native.kernels.pack(columns, halves)
    assert layers.Linear(columns.T)(np.eye(2, dtype=np.float32)[None])[0].tolist() == [
        [1.0, 2.0**-24],
        [np.float32(1 / 3), 65504.0],
    ]


@pytest.mark.parametrize("width", [1, 7, 16, 40, 256])
@pytest.mark.parametrize("shifted", [False, True])
def test_norms_are_those_of_numpy(width, shifted):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 20, width), dtype=np.float32)
    scale, shift = rng.standard_normal((2, width), dtype=np.float32)
    norm = layers.Norm(scale, shift if shifted else None)
    np.testing.assert_allclose(norm(x), in_numpy(norm, x), rtol=2e-5, atol=2e-5)
    assert np.array_equal(norm(x[1:2, 3:4]), norm(x)[1:2, 3:4])


# graphs


def some(*shape, seed=2):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, dtype=np.float32)


def embedding(width):
    return layers.Embed(some(50, width), some(12, width))


def reading(parts, planes, groups, size, batch=5, new=3, time=9, masks=0):
    """Something to read after what is in a memory of 12 tokens."""
    rng = np.random.default_rng(3)
    window = rng.integers(0, 50, (batch, 12))[:, :time]
    memory = rng.standard_normal((batch, parts, planes, groups, 12, size), dtype=np.float32)
    seen = rng.random((masks, batch, new, time)) < 0.6 if masks else None
    return layers.StepInput(window, new, memory, seen)


def run(reads, given, asked=0, head=None):
    """What the kernels make of what is read, and the scores after the last tokens."""
    width = reads.layers[-1].width
    head = head or Graph(width).then(layers.Norm(some(width)))
    outputs = np.empty((len(given.window), given.new, width), np.float32)
    scores = np.empty((len(given.window), asked, head.layers[-1].width), np.float32)
    planned = plan(reads, head)
    native.kernels.run(planned, given.window, given.kv_cache, given.attention_mask, outputs, scores)
    return outputs, scores


def assert_same(reads, given):
    """The same comes out and is remembered with kernels as by definition, and one by one."""
    time, memories = given.window.shape[1], [given.kv_cache.copy() for _ in range(2)]
    found = run(reads, given._replace(kv_cache=memories[0]))[0]
    expected = in_numpy(reads, given._replace(kv_cache=memories[1]))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(*memories, rtol=1e-4, atol=1e-4)
    for i in range(given.new):
        stop = time - given.new + i + 1
        seen = (
            None
            if given.attention_mask is None
            else given.attention_mask[:, :, i : i + 1, :stop].copy()
        )
        one = run(reads, given._replace(window=given.window[:, :stop], new=1, attention_mask=seen))[
            0
        ]
        assert np.array_equal(one[:, 0], found[:, i])
    assert np.array_equal(given.kv_cache, memories[0])


@pytest.mark.parametrize(("heads", "size"), [(1, 3), (2, 8), (4, 64), (2, 40)])
@pytest.mark.parametrize("masks", [0, 2])
def test_attention_is_that_of_numpy(heads, size, masks):
    reads = Graph()
    embedded = reads.add(embedding(3 * heads * size), INPUT)
    reads.add(layers.Attend(heads, heads * size, layer=1, mask=1), INPUT, embedded)
    assert_same(reads, reading(2, 2, heads, size, masks=masks))


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("masks", [0, 1])
def test_heads_of_a_group_look_at_the_same_tokens(groups, masks):
    """As if each had its own."""
    heads, size = 6, 8
    reads = Graph()
    embedded = reads.add(embedding(groups * size), INPUT)
    query = reads.add(layers.Linear(some(groups * size, heads * size)), embedded)
    attend = layers.Attend(heads, heads * size)
    reads.add(attend, INPUT, query, embedded)
    shared = reading(1, 1, groups, size, masks=masks)
    assert_same(reads, shared)

    def own(x, axis):
        return x.reshape(*x.shape[:axis], groups, -1).repeat(heads // groups, axis)

    queries, tokens = some(5, 3, heads * size), some(5, 3, groups * size)
    memory = shared.kv_cache.repeat(heads // groups, axis=3)
    expected = attend(
        shared._replace(kv_cache=memory), queries, own(tokens, 2).reshape(queries.shape)
    )
    assert np.allclose(attend(shared, queries, tokens), expected, atol=1e-5)


@pytest.mark.parametrize("biased", [False, True])
def test_a_network_in_one_call_is_its_layers(biased):
    heads, size, dense, width = 2, 12, 40, 20

    def linear(inputs, units, activation=""):
        return layers.Linear(some(inputs, units), some(units) if biased else None, activation)

    def norm():
        return layers.Norm(some(width), some(width, seed=4) if biased else None)

    reads, head = Graph(), Graph(width)
    x = reads.add(embedding(width), INPUT)
    for part in range(3):
        x = networks.pre_norm_block(
            reads,
            x,
            layers.Attend(heads, heads * size, layer=part),
            norms=[norm(), norm()],
            qkv=linear(width, 3 * heads * size),
            attention_out=linear(heads * size, width),
            dense_in=linear(width, dense, "gelu"),
            dense_out=linear(dense, width),
        )
    head.add(linear(width, 50), head.add(norm(), INPUT))
    given = reading(3, 2, heads, size)
    assert_same(reads, given)
    outputs, scores = run(reads, given, 2, head)
    assert np.array_equal(head(outputs[:, -2:]), scores)
    assert len(reads.placement.widths) < len(reads.layers) / 2


def planned_run():
    """Arguments of `run` for a network that is worth two cores, and the arrays it fills."""
    reads = Graph()
    x = reads.add(embedding(96), INPUT)
    for part in range(4):
        x = reads.add(layers.Attend(2, 64, layer=part), INPUT, reads.add(LINEAR[0], x))
        x = reads.add(LINEAR[1], x)
    given, head = reading(4, 2, 2, 32), Graph(96).then(LINEAR[2])
    outputs, scores = np.empty((5, 3, 96), np.float32), np.empty((5, 2, 5000), np.float32)
    memory = given.kv_cache.copy()
    return (plan(reads, head), given.window, memory, None, outputs, scores)


LINEAR = [layers.Linear(some(*shape)) for shape in ((96, 192), (64, 96), (96, 5000))]


def test_what_another_thread_begins_is_the_same():
    expected, plain = planned_run(), planned_run()
    native.kernels.run(*expected)
    for _ in range(200):
        given = planned_run()
        run = native.kernels.begin(*given)
        native.kernels.draw(random_rows(8, 15000), np.full(8, 0.5), np.empty(8, int), np.empty(8))
        native.kernels.wait(run)
        for found, known in zip(given[2:], expected[2:], strict=True):
            assert found is known is None or np.array_equal(found, known)
    with pytest.raises(ValueError, match="already"):
        native.kernels.wait(run)
    with pytest.raises(ValueError, match="outputs: axis 0 has length 1, expected 5"):
        native.kernels.begin(*plain[:4], f(1, 2, 3), plain[5])


def test_several_runs_at_once_of_which_some_are_dropped():
    expected = planned_run()
    native.kernels.run(*expected)
    for cores in (1, 2, 5):
        native.kernels.use_cores(cores)
        try:
            started = [planned_run() for _ in range(6)]
            runs = [native.kernels.begin(*arguments) for arguments in started]
            del runs[0], runs[3], started[0], started[3]
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(native.kernels.wait, runs))
        finally:
            native.kernels.use_cores(cpu_limit())
        for arguments in started:
            assert np.array_equal(arguments[-1], expected[-1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_does_what_its_parent_had_begun():
    expected = planned_run()
    native.kernels.run(*expected)
    for _ in range(20):
        given = planned_run()
        run = native.kernels.begin(*given)
        child = os.fork()
        if not child:
            native.kernels.wait(run)
            os._exit(not np.array_equal(given[-1], expected[-1]))
        native.kernels.wait(run)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_is_not_needed_any_more_makes_room():
    graph = Graph(4)
    double = layers.Linear(2 * np.eye(4, dtype=np.float32))
    first = graph.add(double, INPUT)
    third = graph.add(double, graph.add(double, first))
    graph.add(double, third, first)  # which is still needed here
    nodes, widths = graph.placement
    assert widths == [4] * 5
    assert len({node.output for node in nodes}) == 4
    x = np.ones((1, 1, 4), np.float32)
    assert graph(x).tolist() == in_numpy(graph, x).tolist() == [[[18, 18, 18, 18]]]


# threads


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_any_number_of_cores_does_the_same(cores):
    logits, luck = random_rows(64, 5000), np.random.default_rng(3).random(64)
    expected = [draw(logits[i : i + 1], luck[i : i + 1])[0][0] for i in range(64)]
    native.kernels.use_cores(cores)
    try:
        for _ in range(20):
            assert draw(logits, luck)[0].tolist() == expected
    finally:
        native.kernels.use_cores(cpu_limit())


def test_several_threads_may_use_them_at_once():
    logits, luck = random_rows(64, 5000), np.random.default_rng(4).random(64)
    expected = draw(logits, luck)[0].tolist()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: draw(logits, luck)[0].tolist(), range(40)))
    assert found == [expected] * 40


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_may_use_them():
    logits, luck = random_rows(64, 5000), np.random.default_rng(5).random(64)
    expected = draw(logits, luck)[0].tolist()  # the threads are there
    child = os.fork()
    if not child:
        os._exit(draw(logits, luck)[0].tolist() != expected)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# what they are not for


def f(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("multiply", (f(2, 3), f(1, 4, 16), None, 0, None, f(2, 5))),
        ("multiply", (f(2, 3), f(1, 3, 16), None, 0, None, f(2, 17))),
        ("multiply", (f(2, 3), f(1, 3, 16), f(4), 0, None, f(2, 5))),
        ("multiply", (f(2, 3), f(1, 3, 16), None, 0, None, f(3, 5))),
        ("multiply", (f(2, 3).T, f(1, 2, 16), None, 0, None, f(3, 5))),
        ("multiply", (f(2, 3).astype("f8"), f(1, 3, 16), None, 0, None, f(2, 5))),
        ("multiply", (f(2, 3), f(1, 3, 16), None, 0, None)),
        ("multiply", (f(2, 3), f(1, 3, 16), None, 4, None, f(2, 5))),
        ("multiply", (f(2, 3), f(1, 3, 16), None, 0, f(2, 4), f(2, 5))),
        ("multiply", (None, f(1, 3, 16), None, 0, None, f(2, 5))),
        ("pack", (f(2, 3), f(2, 3, 16))),
        ("normalise", (f(2, 3), f(4), None, 1e-6, f(2, 3))),
        ("normalise", (f(2, 3), f(3), None, "x", f(2, 3))),
        ("draw", (f(2, 3), np.zeros(3), np.zeros(2, int), np.zeros(2))),
        ("draw", (f(2, 3), np.zeros(2), np.zeros(2), np.zeros(2))),
        ("draw", (f(2, 0), np.zeros(2), np.zeros(2, int), np.zeros(2))),
        ("surprisals", (f(2, 3), np.array([0, 3]), np.zeros(2))),
        ("surprisals", (f(2, 3), np.array([0, -1]), np.zeros(2))),
        ("mask_tokens", (f(2, 3), np.array([3]), f(2, 3))),
        ("apply_temperature", (f(2, 3), 1.0, f(2, 4))),
        ("top_p", (f(2, 3), None, f(2, 3))),
        ("top_k", (f(2, 3), 0, f(2, 3))),
        ("top_k", (f(2, 3), -1, f(2, 3))),
        ("top_k", (f(2, 3), 1, f(2, 4))),
        ("rows_are_valid", (f(3),)),
        ("min_and_shannon_entropy", (f(2, 3), np.zeros(2), np.zeros(1))),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name, arguments):
    with pytest.raises((TypeError, ValueError, BufferError)):
        getattr(native.kernels, name)(*arguments)


EMBED = ("embed", (), 1, f(9, 4), f(5, 4), None)
HEAD = (("multiply", (0,), 1, f(1, 4, 16), None, 0),), (4, 9)


@pytest.mark.parametrize(
    ("nodes", "widths"),
    [
        ((), (0, 4)),
        ((EMBED,), (0, 5)),
        ((EMBED,), (0,)),
        ((EMBED,), (0, -4)),
        ((EMBED,), (0, None)),
        ((EMBED[:5],), (0, 4)),
        ((("embed", (0,), *EMBED[2:]),), (0, 4)),
        ((("embed", (), 0, *EMBED[3:]),), (4, 4)),
        ((("embed", (), 2, *EMBED[3:]),), (0, 4)),
        ((("embed", (), 1, f(9, 4), f(5, 3), None),), (0, 4)),
        ((("embed", (), 1, f(9, 4), None, None),), (0, 4)),
        ((("attention", (), *EMBED[2:]),), (0, 4)),
        ((EMBED, ("normalise", (1,), 2, f(5), None, 1e-6)), (0, 4, 4)),
        ((EMBED, ("normalise", (1,), 2, f(4), f(5), 1e-6)), (0, 4, 4)),
        ((EMBED, ("normalise", (1,), 2, f(4), None, None)), (0, 4, 4)),
        ((EMBED, ("normalise", (1,), 1, f(4), None, 1e-6)), (0, 4, 4)),
        ((EMBED, ("normalise", (1, 1), 2, f(4), None, 1e-6)), (0, 4, 4)),
        ((EMBED, ("normalise", (), 2, f(4), None, 1e-6)), (0, 4, 4)),
        ((EMBED, ("multiply", (1,), 2, f(1, 3, 16), None, 0)), (0, 4, 4)),
        ((EMBED, ("multiply", (1,), 2, f(1, 4, 16), f(3), 0)), (0, 4, 4)),
        ((EMBED, ("multiply", (1,), 2, f(1, 4, 16), None, 4)), (0, 4, 4)),
        ((EMBED, ("multiply", (3,), 2, f(1, 4, 16), None, 0)), (0, 4, 4)),
        ((EMBED, ("multiply", (1, 0), 2, f(1, 4, 16), None, 0)), (0, 4, 4)),
        ((EMBED, ("multiply", (1, 1, 1), 2, f(1, 4, 16), None, 0)), (0, 4, 4)),
        ((EMBED, ("multiply", (), 2, f(1, 4, 16), None, 0)), (0, 4, 4)),
        ((EMBED, ("attend", (), 2, 0, 0, 1)), (0, 4, 4)),
        ((EMBED, ("attend", (1,), 2, 0, 0, 0)), (0, 4, 4)),
        ((EMBED, ("attend", (1,), 2, -1, 0, 1)), (0, 4, 4)),
    ],
)
def test_layers_that_do_not_fit_are_refused(nodes, widths):
    native.kernels.plan((EMBED,), (0, 4), *HEAD)
    with pytest.raises((TypeError, ValueError, BufferError)):
        native.kernels.plan(nodes, widths, *HEAD)
    with pytest.raises((TypeError, ValueError, BufferError)):
        native.kernels.plan((EMBED,), (0, 4), (EMBED,), (4, 4))


@pytest.mark.parametrize(
    "changed",
    [
        {"window": np.zeros((1, 6), int)},
        {"window": np.full((1, 3), 9)},
        {"window": np.full((1, 3), -1)},
        {"window": np.zeros((2, 3), int)},
        {"window": np.zeros((1, 3))},
        {"window": np.zeros((1, 1), int)},
        {"memory": f(1, 1, 1, 1, 2, 4)},
        {"memory": f(1, 0, 1, 1, 5, 4)},
        {"memory": f(1, 1, 2, 1, 5, 4)},
        {"memory": f(1, 1, 1, 0, 5, 4)},
        {"memory": f(1, 1, 1, 3, 5, 4)},
        {"memory": f(1, 1, 1, 2, 5, 2)},
        {"memory": f(1, 1, 1, 1, 5, 4)[..., ::-1]},
        {"memory": f(1, 1, 1, 1, 4)},
        {"seen": np.ones((1, 1, 2, 3), bool)},
        {"seen": np.ones((2, 1, 1, 3), bool)},
        {"seen": np.ones((2, 1, 2, 3))},
        {"outputs": f(1, 2, 5)},
        {"outputs": f(2, 2, 4)},
        {"outputs": f(1, 4, 4)},
        {"scores": f(1, 3, 9)},
        {"scores": f(1, 1, 8)},
        {"scores": f(2, 1, 9)},
        {"plan": None},
    ],
)
def test_what_does_not_fit_a_plan_is_refused(changed):
    nodes = (EMBED, ("attend", (1, 1), 2, 0, 1, 1))
    given = {
        "plan": native.kernels.plan(nodes, (0, 4, 4), *HEAD),
        "window": np.zeros((1, 3), int),
        "memory": f(1, 1, 1, 1, 5, 4),
        "seen": np.ones((2, 1, 2, 3), bool),
        "outputs": f(1, 2, 4),
        "scores": f(1, 1, 9),
    }
    native.kernels.run(*given.values())
    with pytest.raises((TypeError, ValueError, BufferError)):
        native.kernels.run(*(given | changed).values())


def test_what_must_not_be_written_is_not():
    out = f(2, 3)
    out.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        native.kernels.apply_temperature(f(2, 3), 1.0, out)


def test_rows_of_other_kinds_are_left_to_numpy():
    assert native.as_rows(f(2, 3)) is not None
    assert native.as_rows(f(2, 3).astype(np.float64)) is None
    assert native.as_rows(f(2, 6)[:, ::2]) is None
    assert native.as_rows(f(0, 3)) is None


def test_they_can_be_switched_off():
    code = "from corelm import native; print(native.kernels)"
    environment = {**os.environ, "CORELM_KERNELS": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "None\n"


def test_the_interface_lists_every_function_of_the_module():
    listed = {*vars(Kernels), *Kernels.__annotations__}
    public = {name for name in dir(native.kernels) if not name.startswith("_")}
    assert public == {name for name in listed if not name.startswith("_")}


def test_every_kernel_on_rows_serves_a_definition():
    """With the same parameters, so that a call by keyword serves either."""
    for name, on_rows in vars(native_rows).items():
        if inspect.isfunction(on_rows) and not name.startswith("_") and name != "loaded":
            definition = DEFINITIONS[name]
            parameters = list(inspect.signature(definition).parameters)
            assert list(inspect.signature(on_rows).parameters)[1:] == parameters[1:]
            assert definition.__wrapped__ is not definition


DEFINITIONS = {
    **vars(distributions),
    **vars(filters),
    "draw": distributions.draw_checked,
    "apply_temperature": distributions._divide,
}
