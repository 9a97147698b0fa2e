"""Samplers in the loop of another engine: the contract with the engine's steps."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import corelm
from corelm.errors import ModelOutputError, SamplerError, UsageError
from corelm.filters import array_namespace
from corelm.interop import EngineSampler
from corelm.testing import ToyModel

MODEL = ToyModel(end=False)
SAMPLERS = [
    "temperature(t=0.7) | top_p(p=0.8)",
    "repetition_penalty(penalty=1.5)",
    "mirostat(tau=1.5)",
    "adaptive_p(target=0.3)",
    "dry(multiplier=2.0) | min_p(p=0.02)",
]


def prepared(tokens):
    """Return the toy model's logits as an engine would have them, its padding impossible."""
    logits = MODEL.start(np.asarray([tokens])).next_logits()[0]
    logits[[MODEL.vocabulary.padding, MODEL.vocabulary.unknown]] = -np.inf
    return logits


def unprepared(tokens):
    """Return the toy model's logits as engines have them: padding and [UNK] are the likeliest."""
    logits = prepared(tokens)
    logits[[MODEL.vocabulary.padding, MODEL.vocabulary.unknown]] = logits.max() + 1
    return logits


def run(engine, texts, length, logits_of=prepared):
    """Generate as an engine does: logits of each row, the sampler, the likeliest token."""
    texts = [list(text) for text in texts]
    for _ in range(length):
        logits = engine(np.stack([logits_of(text) for text in texts]), texts)
        for text, row in zip(texts, logits, strict=True):
            text.append(int(row.argmax()))
    return texts


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_with_a_seed_the_text_is_that_of_generate(sampler):
    prompt = MODEL.vocabulary.encode("the cat")
    found = run(EngineSampler(sampler, seed=7), [prompt, prompt, prompt], 12)
    expected = corelm.generate(MODEL, "the cat", sampler=sampler, length=12, n=3, seed=7)
    assert [text[2:] for text in found] == [text.tokens for text in expected]


@pytest.mark.parametrize("sampler", [*SAMPLERS, "uniform | top_k(k=4)", "greedy"])
def test_tokens_that_are_never_drawn_here_are_never_drawn_there(sampler):
    prompt = MODEL.vocabulary.encode("the cat")
    engine = EngineSampler(sampler, seed=7, vocabulary=MODEL.vocabulary)
    [found] = run(engine, [prompt], 12, unprepared)
    [expected] = corelm.generate(MODEL, "the cat", sampler=sampler, length=12, seed=7)
    assert found[2:] == expected.tokens


def test_the_logits_of_the_engine_stay_as_they_are():
    logits = unprepared([3])[None]
    before = logits.copy()
    result = EngineSampler("stochastic", vocabulary=MODEL.vocabulary)(logits, [[3]])
    np.testing.assert_array_equal(logits, before)
    np.testing.assert_array_equal(result[0], prepared([3]))


def test_ids_without_a_token_are_never_drawn():
    vocabulary = copy.copy(MODEL.vocabulary)
    vocabulary.unused = (3, 5)
    engine, size = EngineSampler("uniform", vocabulary=vocabulary), len(vocabulary)
    for width, never in ((8, [0, 1, 3, 5]), (size + 2, [0, 1, 3, 5, size, size + 1])):
        result = engine(np.zeros((1, width), np.float32), [[4]])
        assert np.flatnonzero(np.isneginf(result[0])).tolist() == never


class Restores(corelm.Sampler):
    """Give every token the same chance again."""

    reads = frozenset()

    def __call__(self, logits, context):
        return array_namespace(logits).zeros_like(logits)


@pytest.mark.parametrize("seed", [None, 1])
def test_a_sampler_that_restores_what_is_never_drawn_is_refused(seed):
    engine = EngineSampler(Restores(), seed=seed, vocabulary=MODEL.vocabulary)
    with pytest.raises(
        SamplerError, match=r"^restores restored token 0, .* at step 0; pass the result"
    ):
        engine(np.stack([prepared([3])] * 2), [[3], [3]])


def test_a_drawn_token_that_the_engine_rules_out_is_refused():
    logits = np.full((1, 9), -np.inf, np.float32)
    logits[0, 8] = 0
    engine = EngineSampler(Restores(), seed=1)
    with pytest.raises(SamplerError, match=r"restored token [0-7], .* at step 0; pass the result"):
        engine.draw(logits, [[3]])


def test_native_arrays_are_masked_in_their_library():
    strict = pytest.importorskip("array_api_strict", reason="pip install array-api-strict")
    engine = EngineSampler("top_k(k=2)", vocabulary=MODEL.vocabulary)
    logits = strict.asarray(np.array([[9.0, 8.0, 1.0, 3.0, 2.0]], np.float32))
    found = np.asarray(engine.native(logits))
    np.testing.assert_array_equal(found, [[-np.inf, -np.inf, -np.inf, 3.0, 2.0]])
    restored = EngineSampler(Restores(), vocabulary=MODEL.vocabulary).native(logits)
    np.testing.assert_array_equal(np.asarray(restored), [[-np.inf, -np.inf, 0.0, 0.0, 0.0]])


def test_a_row_with_nothing_else_is_refused():
    engine = EngineSampler("stochastic", vocabulary=MODEL.vocabulary)
    only_padding = np.where(np.arange(8) == MODEL.vocabulary.padding, 0, -np.inf)[None]
    with pytest.raises(ModelOutputError, match="the engine's logits"):
        engine(only_padding, [[3]])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_rows_of_different_lengths_are_as_if_alone(sampler):
    prompts = [MODEL.vocabulary.encode(text) for text in ("the", "the cat sat", "dog ran")]
    together = run(EngineSampler(sampler, seed=3), prompts, 8)
    for i, prompt in enumerate(prompts):
        others = [[2]] * i  # so that the row has the same index
        assert run(EngineSampler(sampler, seed=3), [*others, prompt], 8)[i] == together[i]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_engine_may_reorder_fork_and_drop_rows(sampler):
    prompts = [[3], [4, 5], [6, 7, 8]]
    engine, straight = EngineSampler(sampler), EngineSampler(sampler)
    texts = [list(prompt) for prompt in prompts]
    for step in range(4):
        logits = straight(np.stack([prepared(text) for text in texts]), texts)
        order = [[0, 1, 2], [2, 0, 1], [1, 2], [2, 2, 1, 0]][step]
        moved = engine(np.stack([prepared(texts[i]) for i in order]), [texts[i] for i in order])
        np.testing.assert_array_equal(moved, logits[order])
        if step == 2:
            break  # row 0 was dropped: it would begin again as a prompt
        texts = [[*text, 4 + (step + i) % 5] for i, text in enumerate(texts)]


@pytest.mark.parametrize("sampler", ["stochastic", "temperature(t=1)", "top_p(p=1) | stochastic"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_result_is_never_the_memory_of_the_engine(sampler, dtype):
    logits = np.array([[1.0, 2.0, 0.5]], dtype)
    result = EngineSampler(sampler)(logits, [[0]])
    assert np.array_equal(result, logits)
    assert result.flags.writeable
    assert not np.shares_memory(result, logits)


def test_one_object_serves_one_generation_after_another():
    engine = EngineSampler("mirostat(tau=1.5)", seed=5)
    prompt = MODEL.vocabulary.encode("the cat")
    assert run(engine, [prompt], 9) == run(engine, [prompt], 9)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_rows_that_start_later_keep_their_sample(sampler):
    """As in an engine whose loop starts at the end of the shortest prompt."""
    prompts = [MODEL.vocabulary.encode(text) for text in ("the cat", "the")]
    engine, texts = EngineSampler(sampler, seed=3), [list(prompt) for prompt in prompts]
    for time in range(1, 9):
        rows = [i for i in range(2) if len(prompts[i]) <= time]
        logits = np.stack([prepared(texts[i]) for i in rows])
        for i, row in zip(rows, engine(logits, [texts[i] for i in rows], rows), strict=True):
            texts[i].append(int(row.argmax()))
    for i, prompt in enumerate(prompts):
        others = [[2]] * i
        alone = run(EngineSampler(sampler, seed=3), [*others, prompt], 9 - len(prompt))[i]
        assert texts[i] == alone


def test_after_a_reset_a_longer_text_is_a_prompt():
    engine = EngineSampler("stochastic", seed=5)
    [text] = run(engine, [MODEL.vocabulary.encode("the cat")], 3)
    expected = run(EngineSampler("stochastic", seed=5), [text], 6)
    engine.reset()
    assert run(engine, [text], 6) == expected


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_copy_continues_the_same_text_independently(sampler):
    prompt = MODEL.vocabulary.encode("the cat")
    engine = EngineSampler(sampler, seed=5)
    [text] = run(engine, [prompt], 4)
    other = copy.copy(engine)
    first = run(engine, [[*text]], 6)
    run(engine, [prompt], 3)  # another generation must not disturb the copy
    assert run(other, [text], 6) == first == run(EngineSampler(sampler, seed=5), [prompt], 10)


def test_an_engine_may_ask_which_text_a_row_continues():
    engine = EngineSampler("repetition_penalty(penalty=2.0)")
    texts = [[3, 4], [5]]
    assert not engine.continues(texts[0])
    engine(np.stack([prepared(text) for text in texts]), texts)
    continued = [engine.continues(text) for text in ([3, 4, 7], [5, 7], [3, 4], [4, 4, 7], [])]
    assert continued == [True, True, False, False, False]
    engine.reset()
    assert not engine.continues([5, 7])


@pytest.mark.parametrize("sampler", ["mirostat(tau=1.5)", "adaptive_p(target=0.3)"])
def test_an_engine_may_overwrite_its_logits(sampler):
    engine, straight = EngineSampler(sampler, seed=5), EngineSampler(sampler, seed=5)
    memory, texts = np.zeros((1, len(MODEL.vocabulary)), np.float32), [[3], [3]]
    for _ in range(6):
        memory[0] = prepared(texts[0])
        texts[0].extend(engine.draw(memory, texts[:1]))
        texts[1].extend(straight.draw(prepared(texts[1])[None], texts[1:]))
        memory[:] = 0
    assert texts[0] == texts[1]


def test_without_a_seed_the_logits_are_those_of_the_sampler():
    logits = np.log(np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], np.float32))
    result = EngineSampler("top_k(k=1)")(logits, [[0], [1]])
    assert np.isneginf(result).tolist() == [[False, True, True], [True, True, False]]
    assert result.dtype == np.float32


def test_half_precision_becomes_single():
    logits = np.array([[0.0, 1.0]], np.float16)
    assert EngineSampler("stochastic")(logits, [[0]]).dtype == np.float32


def test_samplers_find_words_in_the_vocabulary_of_the_engine():
    engine = EngineSampler("ban(words='cat')", vocabulary=MODEL.vocabulary)
    [cat] = MODEL.vocabulary.encode("cat")
    result = engine(prepared([3])[None], [[3]])
    assert np.isneginf(result[0, cat])
    with pytest.raises(UsageError, match="ban"):
        EngineSampler("ban(words='cat')")(prepared([3])[None], [[3]])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_start_token_is_no_part_of_a_text(sampler):
    vocabulary = copy.copy(MODEL.vocabulary)
    vocabulary.start = vocabulary.padding  # which the toy model begins a text with
    prompts = [vocabulary.encode(text) for text in ("the cat", "the")]
    started = [[vocabulary.start, *prompts[0]], prompts[1]]
    expected = run(EngineSampler(sampler, seed=7), prompts, 8)
    found = run(EngineSampler(sampler, seed=7, vocabulary=vocabulary), started, 8)
    assert found == [[vocabulary.start, *expected[0]], expected[1]]
    lengths = [len(text) for text in started]
    logits = np.stack([prepared(text) for text in found])
    later, straight = (EngineSampler(sampler, seed=7, vocabulary=v) for v in (vocabulary, None))
    drawn = later.draw(logits, found, prompt_lengths=lengths)
    assert drawn.tolist() == straight.draw(logits, expected, prompt_lengths=[2, 1]).tolist()


def test_bad_logits_and_shapes_are_refused():
    engine = EngineSampler("stochastic")
    with pytest.raises(ModelOutputError, match="the engine's logits hold NaN in row 1"):
        engine(np.array([[0.0, 1.0], [np.nan, 0.0]]), [[0], [0]])
    with pytest.raises(UsageError, match="expected logits"):
        engine(np.array([0.0, 1.0]), [[0]])
    with pytest.raises(UsageError, match="not \\(1, 2\\) and 2 lists"):
        engine(np.array([[0.0, 1.0]]), [[0], [1]])
    with pytest.raises(UsageError, match="seed"):
        EngineSampler("stochastic", seed=-1)


def test_native_arrays_are_kept_where_the_sampler_can():
    strict = pytest.importorskip("array_api_strict", reason="pip install array-api-strict")
    logits = strict.asarray(np.array([[0.0, 2.0, 1.0]], np.float32))
    result = EngineSampler("top_k(k=2)").native(logits)
    assert type(result) is type(logits)
    np.testing.assert_array_equal(np.asarray(result), [[-np.inf, 2.0, 1.0]])
    assert EngineSampler("repetition_penalty(penalty=2.0)").native(logits) is None
    assert EngineSampler("ban(words='cat')").native(logits) is None


def test_an_engine_may_say_how_long_the_prompts_are():
    """As after a request that was interrupted: the prompt is shorter than the first text."""
    text = [3, 4, 5, 4]
    logits = np.stack([prepared(text)])
    penalty = EngineSampler("presence_penalty(penalty=2.0, skip_prompt=True)")
    expected = logits[0].copy()
    expected[[4, 5]] -= 2
    np.testing.assert_array_equal(penalty(logits, [text], prompt_lengths=[1])[0], expected)
    engine, straight = EngineSampler("uniform", seed=5), EngineSampler("uniform", seed=5)
    whole = run(straight, [[3]], 8)[0]
    for length in (4, 5, 6):
        logits = np.stack([prepared(whole[:length])])
        drawn = engine.draw(logits, [whole[:length]], prompt_lengths=[1])
        assert drawn.tolist() == [whole[length]]


def test_texts_begun_in_the_middle_have_no_surprisals_before():
    """The rows have equal lengths, and their surprisals begin at different tokens."""
    engine, rows = EngineSampler("mirostat(tau=1.0, eta=0.5)"), [[3, 4, 5], [3, 4, 5, 6]]
    for text in rows:
        result = engine(np.stack([prepared(text)]), [text], prompt_lengths=[3])
    late = [4, 4, 5, 6]
    both = engine(
        np.stack([prepared([*rows[1], 7]), prepared([*late, 7])]),
        [[*rows[1], 7], [*late, 7]],
        prompt_lengths=[3, 3],
    )
    assert np.isfinite(result).any()
    fresh = EngineSampler("mirostat(tau=1.0, eta=0.5)")
    alone = fresh(np.stack([prepared([*late, 7])]), [[*late, 7]], prompt_lengths=[3])
    np.testing.assert_array_equal(both[1], alone[0])


def test_a_record_has_the_draws_of_each_step():
    """Of the rows of a step, with what is never drawn at minus infinity, as the sampler sees it."""
    model, draws = ToyModel(end=False), []
    engine = EngineSampler("top_k(k=3)", seed=4, vocabulary=model.vocabulary, record=draws.append)
    texts = [model.vocabulary.encode(prompt) for prompt in ("the cat", "dog")]
    for _ in range(3):
        logits = np.concatenate([model.start([text]).next_logits() for text in texts])
        for text, token in zip(texts, engine.draw(logits, texts), strict=True):
            text.append(int(token))
    last = draws[-1]
    assert [each.tolist() for each in last.texts] == [text[:-1] for text in texts]
    assert last.tokens.tolist() == [text[-1] for text in texts]
    assert (list(last.prompt_lengths), list(last.samples)) == ([2, 1], [0, 1])
    assert ((last.logits > -np.inf).sum(axis=-1) == 3).all()
    assert (last.model_logits[:, model.vocabulary.padding] == -np.inf).all()
    assert str(last.sampler) == "top_k(k=3)"


def test_rows_of_one_length_are_sampled_together():
    """Of 6 rows, whose lengths alternate: two calls, and each row has its own result."""
    batches = []

    class Counted(corelm.Sampler):
        reads = frozenset({"tokens"})

        def __call__(self, logits, context):
            batches.append(context.batch)
            added = context.tokens[:, -1:] + context.tokens.shape[1]
            return logits + added.astype(logits.dtype)

    logits = np.random.default_rng(1).normal(size=(6, 9)).astype(np.float32)
    texts = [[i] * (1 + i % 2) for i in range(6)]
    found = EngineSampler(Counted())(logits, texts)
    assert batches == [3, 3]
    for i, text in enumerate(texts):
        np.testing.assert_array_equal(found[i], logits[i] + np.float32(i + len(text)))


def test_a_callers_own_draws_are_recorded_without_the_start_token():
    vocabulary = copy.copy(ToyModel(end=False).vocabulary)
    vars(vocabulary)["start"] = 4
    engine = EngineSampler("top_k(k=3)", vocabulary=vocabulary)
    logits = np.zeros((2, len(vocabulary)), np.float32)
    texts = [[4, 6, 7], [5, 6]]
    result = engine(logits, texts, prompt_lengths=[2, 1])
    draw = engine.drawn(logits, texts, [2, 1], [0, 3], result, np.array([6, 7]))
    assert [text.tolist() for text in draw.texts] == [[6, 7], [5, 6]]
    assert (draw.prompt_lengths, draw.samples, draw.tokens.tolist()) == ([1, 1], [0, 3], [6, 7])
    assert (draw.model_logits[:, vocabulary.padding] == -np.inf).all()


def test_a_record_needs_a_seed():
    with pytest.raises(UsageError, match="record= needs seed="):
        EngineSampler("top_k(k=3)", record=print)
