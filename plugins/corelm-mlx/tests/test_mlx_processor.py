"""corelm's samplers in the real mlx-lm: distributions, texts, batches, errors."""

import numpy as np
import pytest
from engine_samplers import Fails, TopA
from tiny_mlx import (
    ENGINE,
    PROMPTS,
    SAMPLERS,
    TOKENIZER,
    BatchGenerator,
    MlxModel,
    as_logits_processor,
    as_sampler,
    batch_generate,
    generate,
    mx,
    sample_utils,
    stream_generate,
    tiny_tokenizer,
)

import corelm
from corelm.errors import UsageError
from corelm.interop import EngineSampler
from corelm.interop.testing import check_draws

MODEL = MlxModel(ENGINE, TOKENIZER)
ALONE = [sampler for sampler in SAMPLERS if "penalty" not in sampler and "ngram" not in sampler]
ALONE.remove("dry(multiplier=1.0, allowed_length=1)")


def expected(prompt, sampler, seed, length=20, sample=0):
    texts = corelm.generate(MODEL, prompt, sampler=sampler, seed=seed, length=length, n=sample + 1)
    return texts[sample].tokens


def tokens(prompt, length=20, tokenizer=TOKENIZER, **options):
    steps = stream_generate(ENGINE, tokenizer, prompt, max_tokens=length, **options)
    return [step.token for step in steps]


def without_end(ids):
    return [token for token in ids if token != TOKENIZER.eos_token_id]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_with_a_seed_the_text_is_that_of_generate(sampler):
    processor = as_logits_processor(sampler, seed=7, tokenizer=TOKENIZER)
    for prompt in PROMPTS:  # one object for one text after another
        found = tokens(prompt, logits_processors=[processor])
        assert found == expected(prompt, sampler, 7)


@pytest.mark.parametrize("sampler", ALONE)
def test_a_sampler_draws_the_text_of_generate(sampler):
    for prompt in PROMPTS:
        found = tokens(prompt, sampler=as_sampler(sampler, seed=7))
        assert found == expected(prompt, sampler, 7)


def test_the_text_is_that_of_generate():
    processor = as_logits_processor("top_k(k=1)", seed=1)
    options = {"max_tokens": 10, "logits_processors": [processor]}
    [text] = corelm.generate(MODEL, "the cat", sampler="greedy", length=10)
    # They differ in what they show of a half character at the end of a text.
    found = generate(ENGINE, TOKENIZER, "the cat", **options)
    assert found.rstrip("\ufffd") == text.text.rstrip("\ufffd")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_texts_of_a_batch_are_the_samples_of_a_seed(sampler):
    ids = [TOKENIZER.encode(prompt, add_special_tokens=False) for prompt in PROMPTS]
    processors = [[as_logits_processor(sampler, seed=5, sample=i)] for i in range(3)]
    ends = [[end] for end in TOKENIZER.eos_token_ids]
    batch = BatchGenerator(ENGINE, stop_tokens=ends)
    uids = batch.insert(ids, [15] * 3, logits_processors=processors)
    found = {uid: [] for uid in uids}
    while responses := batch.next_generated():
        for response in responses:
            found[response.uid].append(response.token)
    batch.close()
    for i, (uid, prompt) in enumerate(zip(uids, PROMPTS, strict=True)):
        assert found[uid] == expected(prompt, sampler, 5, 15, i)


@pytest.mark.parametrize(
    "sampler", ["top_k(k=1)", "dry(multiplier=9.0, allowed_length=1) | greedy"]
)
def test_texts_of_a_batch_may_share_a_processor_without_a_seed(sampler):
    prompts = [*PROMPTS, "the cat the cat"]
    ids = [TOKENIZER.encode(prompt, add_special_tokens=False) for prompt in prompts]
    processor = as_logits_processor(sampler)
    for _ in range(2):
        result = batch_generate(
            ENGINE, TOKENIZER, ids, max_tokens=15, logits_processors=[processor],
            return_token_ids=True,
        )  # fmt: skip
        for prompt, found in zip(prompts, result.token_ids, strict=True):
            assert found == without_end(expected(prompt, sampler, 0, 15))


def test_texts_of_a_batch_may_not_share_a_seed():
    ids = [TOKENIZER.encode(prompt, add_special_tokens=False) for prompt in PROMPTS]
    processor = as_logits_processor("min_p(p=0.02)", seed=5)
    with pytest.raises(UsageError, match=r"as_logits_processor\(sampler, seed=seed, sample=i\)"):
        batch_generate(ENGINE, TOKENIZER, ids, max_tokens=5, logits_processors=[processor])


def test_a_batch_may_share_a_sampler():
    sampler = "min_p(p=0.02) | temperature(t=0.9)"
    prompt = TOKENIZER.encode("the cat", add_special_tokens=False)
    result = batch_generate(
        ENGINE, TOKENIZER, [prompt] * 3, max_tokens=3, sampler=as_sampler(sampler, seed=4),
        return_token_ids=True,
    )  # fmt: skip
    assert result.token_ids == [expected("the cat", sampler, 4, 3, i) for i in range(3)]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_without_a_seed_the_distribution_is_the_samplers(sampler, dtype):
    text = np.array(TOKENIZER.encode("see the cat the cat", add_special_tokens=False))
    logits = ENGINE(mx.array(text[None]))[:, -1].astype(getattr(mx, dtype))
    processor = as_logits_processor(sampler, tokenizer=TOKENIZER)
    found = mx.softmax(processor(mx.array(text), logits), axis=-1)
    own = corelm.softmax(EngineSampler(sampler)(np.array(logits.astype(mx.float32)), [text]))
    np.testing.assert_allclose(np.array(found), own, atol=1e-5)


def test_the_draws_follow_the_distribution():
    def draw(logits, sampler):
        mx.random.seed(1)
        return as_sampler(sampler)(mx.array(np.tile(logits, (20_000, 1)))).tolist()

    check_draws(draw)


def test_the_draws_of_mlx_lm_follow_the_distribution():
    def draw(logits, sampler):
        mx.random.seed(1)
        [row] = as_logits_processor(sampler)(mx.array([1]), mx.array(logits[None]))
        rows = mx.repeat(row[None], 20_000, axis=0)
        return sample_utils.make_sampler(temp=1.0)(rows).tolist()

    check_draws(draw)


def test_the_start_token_is_no_part_of_the_text():
    tokenizer = tiny_tokenizer(start=True)
    model, sampler = MlxModel(ENGINE, tokenizer), "repetition_penalty(penalty=3.0)"
    processor = as_logits_processor(sampler, seed=2, tokenizer=tokenizer)
    found = tokens("the cat", tokenizer=tokenizer, logits_processors=[processor])
    [own] = corelm.generate(model, "the cat", sampler=sampler, seed=2, length=20)
    assert found == own.tokens


@pytest.mark.parametrize("sampler", ["stochastic", "mirostat(tau=2.0)", "min_length(n=9)"])
def test_a_prompt_that_continues_the_last_text_begins_a_text(sampler):
    again = as_logits_processor(sampler, seed=3, tokenizer=TOKENIZER)
    ids = TOKENIZER.encode("the cat", add_special_tokens=False)
    for _ in range(4):
        fresh = as_logits_processor(sampler, seed=3, tokenizer=TOKENIZER)
        found, own = (tokens(ids, 5, logits_processors=[p]) for p in (again, fresh))
        assert found == own
        ids = [*ids, *found]


@pytest.mark.parametrize(
    "options",
    [
        {"logits_processors": [as_logits_processor("stochastic", seed=3)]},
        {"logits_processors": [as_logits_processor("repetition_penalty(penalty=1.5)")]},
        {"logits_processors": [as_logits_processor("mirostat(tau=3.0)")]},
        {"sampler": as_sampler("top_k(k=3)", seed=3)},
        {"sampler": as_sampler("top_k(k=3)")},
    ],
    ids=["seed", "reads tokens", "reads surprisals", "sampler with a seed", "sampler"],
)
def test_a_draft_model_is_refused(options):
    """It passes texts without their prompts, and guesses as if they were drawn."""
    with pytest.raises(UsageError, match=r"^[^\n]*generate without draft_model$"):
        tokens("the cat", 5, draft_model=ENGINE, **options)


def test_a_draft_model_changes_no_distribution_of_logits_alone():
    processor = as_logits_processor("top_k(k=1)")
    found = tokens("the cat", 8, draft_model=ENGINE, logits_processors=[processor])
    assert found == expected("the cat", "greedy", 0, 8)


ENDS = [0, 3, 17, 31, 64, 65, 66, 67, 97, 101, 110, 128, 200, 250]
"""Ids that end a text of the tiny model within a few tokens."""
OF_ENDS = ["min_length(n=6)", "length_bias(weight=2.0, start=3)"]


def texts_of(make, ends, **options):
    """Return the ids of 20 texts in mlx-lm and in corelm, with a tokenizer of several ends."""
    tokenizer = tiny_tokenizer(ends=ends)
    model = MlxModel(ENGINE, tokenizer)
    found, own = [], []
    for seed in range(20):
        found.append(tokens("the", 12, tokenizer, **make(seed, tokenizer)))
        [text] = corelm.generate(model, "the", seed=seed, length=12, **options)
        own.append(text.tokens)
    return found, own


@pytest.mark.parametrize("sampler", OF_ENDS)
def test_every_end_of_the_configuration_is_an_end(sampler):
    def processors(seed, tokenizer):
        return {"logits_processors": [as_logits_processor(sampler, seed=seed, tokenizer=tokenizer)]}

    found, own = texts_of(processors, ENDS, sampler=sampler)
    assert found == own
    if "min_length" in sampler:
        assert min(map(len, found)) > 6


def test_a_sampler_without_tokens_knows_the_ends_too():
    def samplers(seed, tokenizer):
        sampler = "xtc(probability=1.0, threshold=0.02, special='end')"
        return {"sampler": as_sampler(sampler, seed=seed, tokenizer=tokenizer)}

    found, own = texts_of(
        samplers, ENDS, sampler="xtc(probability=1.0, threshold=0.02, special='end')"
    )
    assert found == own


def test_a_coin_before_the_sampler_of_mlx_lm_is_noted(caplog):
    as_logits_processor("xtc(probability=0.5)", seed=1)
    assert not caplog.messages
    as_logits_processor("xtc(probability=0.5)")
    assert "and stages of mlx-lm after it act on the mixture" in caplog.text


def test_the_ends_of_a_batch_are_an_argument():
    processor = as_logits_processor("min_length(n=6)", tokenizer=TOKENIZER, ends=ENDS)
    logits = processor(mx.array([1]), mx.zeros((1, ENGINE.args.vocab_size)))
    assert np.flatnonzero(np.isneginf(np.array(logits))).tolist() == ENDS


def test_samplers_find_words_in_the_tokenizer():
    [cat] = TOKENIZER.encode(" cat", add_special_tokens=False)
    processor = as_logits_processor("ban(words=(' cat',))", tokenizer=TOKENIZER)
    logits = processor(mx.array([1]), mx.zeros((1, ENGINE.args.vocab_size)))
    assert np.flatnonzero(np.isneginf(np.array(logits))).tolist() == [cat]


def test_a_portable_sampler_stays_on_the_device(monkeypatch):
    logits = mx.array(np.random.default_rng(0).normal(size=(1, 50)).astype(np.float32))
    expected = as_logits_processor("top_p(p=0.8)")(mx.array([1]), logits)
    monkeypatch.setattr(mx, "default_device", lambda: mx.Device(mx.gpu))  # only its name
    monkeypatch.setattr("corelm_mlx.processor.to_numpy", None)
    native = as_logits_processor("top_p(p=0.8)")(mx.array([1]), logits)
    np.testing.assert_array_equal(np.array(native), np.array(expected))


@pytest.mark.parametrize("function", [as_sampler, as_logits_processor])
def test_errors_are_one_line(function):
    for arguments, message in (
        (("temprature",), "did you mean 'temperature'"),
        (("top_p(p=2)",), "p must be"),
    ):
        with pytest.raises(corelm.CorelmError, match=message) as caught:
            function(*arguments)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="the seed must be a whole number"):
        function("greedy", seed=-1)


def test_a_sampler_that_reads_tokens_is_a_logits_processor():
    with pytest.raises(UsageError, match="use as_logits_processor"):
        as_sampler("temperature(t=0.7) | dry(multiplier=1.0)")


def test_a_sampler_keeps_to_its_batch():
    draw = as_sampler("greedy", seed=1)
    draw(mx.zeros((2, 5)))
    with pytest.raises(UsageError, match="has begun 2 texts, not 1"):
        draw(mx.zeros((1, 5)))


def test_a_plugin_of_ten_lines_runs_unchanged():
    processor = as_logits_processor(TopA(), seed=3)
    found = tokens("the", 12, logits_processors=[processor])
    assert found == expected("the", TopA(), 3, 12)


def test_tokens_that_are_never_drawn_here_are_never_drawn_there():
    tokenizer = tiny_tokenizer(pad_token="!")
    logits, never = mx.zeros((1, len(tokenizer) + 2)), [0, 264, 265]
    result = as_logits_processor("uniform", tokenizer=tokenizer)(mx.array([5]), logits)
    assert np.flatnonzero(np.isneginf(np.array(result[0]))).tolist() == never
    [drawn] = {int(as_sampler("greedy", tokenizer=tokenizer)(logits)[0]) for _ in range(3)}
    assert drawn == 1


@pytest.mark.parametrize("seed", [None, 7])
def test_an_error_of_a_sampler_reaches_the_user(seed):
    with pytest.raises(Exception, match="no third token"):
        tokens(PROMPTS[0], logits_processors=[as_logits_processor(Fails(), seed=seed)])
