"""Samplers in the loop of transformers: the same distributions, and the texts of corelm."""

import logging

import numpy as np
import pytest
import tiny_transformers
import torch
from corelm_transformers import TransformersModel, as_logits_processor, corelm_loop
from engine_samplers import TopA
from tiny_transformers import ENGINE, PROMPTS, SAMPLERS, TOKENIZER, encoded, messages
from transformers import LogitsProcessor

import corelm
from corelm import CorelmError
from corelm.interop.testing import check_draws

MODEL = TransformersModel(ENGINE, TOKENIZER)
LENGTH = 12
NEUTRAL = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}


def drawn(prompts, **options):
    """Return the tokens that transformers adds to each prompt, up to the end of a text."""
    inputs = encoded(prompts)
    texts = ENGINE.generate(**inputs, max_new_tokens=LENGTH, pad_token_id=263, **options)
    return [until_end(text[inputs.input_ids.shape[1] :].tolist()) for text in texts]


def until_end(tokens):
    [end] = MODEL.vocabulary.ends
    return tokens[: tokens.index(end)] if end in tokens else tokens


def of_corelm(prompts, sampler, seed):
    """Return the tokens of corelm.generate: row i is sample i of its prompt."""
    texts = [
        corelm.generate(MODEL, prompt, sampler=sampler, length=LENGTH, n=i + 1, seed=seed)[i]
        for i, prompt in enumerate(prompts)
    ]
    return [until_end(text.tokens) for text in texts]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_with_a_seed_the_texts_are_those_of_corelm(sampler):
    expected = of_corelm(PROMPTS, sampler, seed=7)
    processor = as_logits_processor(sampler, seed=7, tokenizer=TOKENIZER)
    assert drawn(PROMPTS, logits_processor=[processor], do_sample=True) == expected
    assert drawn(PROMPTS, logits_processor=[processor]) == expected  # a second generation
    loop = {"custom_generate": corelm_loop, "sampler": sampler, "seed": 7}
    assert drawn(PROMPTS, **loop, tokenizer=TOKENIZER) == expected


def test_several_texts_of_a_prompt_are_the_samples_of_corelm():
    processor = as_logits_processor("stochastic", seed=4, tokenizer=TOKENIZER)
    found = drawn(["the"], logits_processor=[processor], do_sample=True, num_return_sequences=3)
    assert found == of_corelm(["the"] * 3, "stochastic", seed=4)


class Spy(LogitsProcessor):
    """Keeps what passes through a processor."""

    def __init__(self, processor):
        self.processor, self.seen = processor, []

    def __call__(self, input_ids, scores):
        result = self.processor(input_ids, scores)
        self.seen.append((input_ids.clone(), scores.clone(), result))
        return result


@pytest.mark.parametrize("sampler", [s for s in SAMPLERS if "mirostat" not in s])
def test_without_a_seed_the_distributions_are_those_of_the_sampler(sampler):
    spy = Spy(as_logits_processor(sampler, tokenizer=TOKENIZER))
    torch.manual_seed(0)
    drawn(PROMPTS, logits_processor=[spy], **NEUTRAL)
    chosen = corelm.sampler(sampler)
    for input_ids, scores, result in spy.seen:
        for ids, logits, row in zip(input_ids, scores, result, strict=True):
            text = ids[(ids != TOKENIZER.pad_token_id).int().argmax() :]
            expected = corelm.sampling_distribution(chosen, logits.numpy(), text.numpy())
            np.testing.assert_allclose(torch.softmax(row, -1).numpy(), expected, atol=1e-5)


def test_the_draws_of_the_engine_follow_the_distribution():
    def draw(logits, sampler):
        class Fixed(LogitsProcessor):
            def __call__(self, input_ids, scores):
                return torch.from_numpy(logits).expand_as(scores)

        torch.manual_seed(1)
        processors = [Fixed(), as_logits_processor(sampler, tokenizer=TOKENIZER)]
        options = {"max_new_tokens": 1, "num_return_sequences": 20_000, **NEUTRAL}
        texts = ENGINE.generate(**encoded(["the"]), logits_processor=processors, **options)
        return texts[:, -1].tolist()

    check_draws(draw, vocabulary=264)


@pytest.mark.parametrize("sampler", ["stochastic", "temperature(t=1)", "top_p(p=1) | stochastic"])
def test_a_sampler_that_changes_nothing_keeps_the_scores(sampler):
    scores = torch.zeros((1, 4))
    result = as_logits_processor(sampler)(torch.tensor([[0]]), scores)
    result[0, 0] = 1  # a later processor may write into them
    assert result.tolist() == [[1, 0, 0, 0]]
    assert scores.tolist() == [[0, 0, 0, 0]]


def test_the_pads_before_a_row_are_no_text():
    ids = torch.tensor([[263, 263, 5, 6], [7, 263, 8, 9], [263, 263, 263, 263]])
    processor = as_logits_processor("repetition_penalty(penalty=2)", tokenizer=TOKENIZER)
    result = processor(ids, torch.ones((3, 264)))
    found = [np.flatnonzero(row != 1).tolist() for row in result.numpy()]
    assert found == [[5, 6], [7, 8, 9, 263], []]


def test_the_loop_knows_pads_that_are_also_text():
    inputs = encoded(["cat", "the cat"])
    inputs["input_ids"][1, 0] = TOKENIZER.pad_token_id  # it is part of the text here
    loop = {"custom_generate": corelm_loop, "sampler": "repetition_penalty(penalty=1e9)"}
    texts = ENGINE.generate(**inputs, **loop, seed=1, max_new_tokens=8)
    assert TOKENIZER.pad_token_id not in texts[1, 1:].tolist()


def test_filters_that_follow_are_named_once(caplog):
    for _ in range(2):
        drawn(["a"], logits_processor=[as_logits_processor("min_p(p=0.1)")], do_sample=True)
    [first, _] = messages(caplog)
    assert first.startswith("transformers applies TopKLogitsWarper after corelm: min_p(p=0.1);")
    caplog.clear()
    drawn(["a"], logits_processor=[as_logits_processor("min_p(p=0.1)")], **NEUTRAL)
    drawn(["a"], logits_processor=[as_logits_processor("min_p(p=0.1)", seed=1)], do_sample=True)
    assert messages(caplog) == []


def test_a_batch_without_a_tokenizer_is_remarked_once(caplog):
    drawn(PROMPTS, logits_processor=[as_logits_processor("dry(multiplier=1)", seed=1)])
    [message] = messages(caplog)
    assert "if your batch is padded, pass the tokenizer" in message


def test_the_loop_names_what_it_replaces(caplog):
    loop = {"custom_generate": corelm_loop, "sampler": "stochastic"}
    drawn(["a"], **loop, do_sample=True, top_p=0.5)
    [message] = messages(caplog)
    assert message == (
        "corelm_loop applies stochastic in place of TopKLogitsWarper, TopPLogitsWarper"
    )


@pytest.mark.parametrize(
    ("sampler", "seed", "supported"),
    [("min_p(p=0.1)", None, True), ("min_p(p=0.1)", 1, False), ("dry(multiplier=1)", None, False)],
)
def test_continuous_batching_is_for_samplers_of_logits_alone(sampler, seed, supported):
    processor = as_logits_processor(sampler, seed=seed)
    assert processor.supports_continuous_batching is supported
    if supported:  # it passes the last token of each row alone
        assert processor(torch.tensor([3, 4]), torch.zeros((2, 5))).shape == (2, 5)


def test_rows_that_have_ended_do_no_harm():
    """A finished row gets padding, which the sampler never drew: its surprisal is infinite."""
    end = torch.full((1, 264), 0.0)
    end[0, 263] = 5.0

    class Ending(LogitsProcessor):
        def __call__(self, input_ids, scores):
            return scores + end * (torch.arange(len(scores)) == 0)[:, None] * 10

    processors = [Ending(), as_logits_processor("mirostat(tau=1)", seed=3, tokenizer=TOKENIZER)]
    first, *others = drawn(PROMPTS, logits_processor=processors)
    assert first == []
    assert others == of_corelm(PROMPTS, "mirostat(tau=1)", seed=3)[1:]


def test_beams_may_be_reordered():
    processor = as_logits_processor("mirostat(tau=3)", tokenizer=TOKENIZER)
    [text, _] = drawn(["the", "a cat"], logits_processor=[processor], num_beams=3)
    assert len(text) <= LENGTH


@pytest.mark.parametrize("options", [{}, {"do_sample": True}, {"num_return_sequences": 2}])
def test_beams_of_drawn_tokens_are_refused(options):
    processor = as_logits_processor("top_k(k=5)", seed=1, tokenizer=TOKENIZER)
    with pytest.raises(CorelmError, match="leave out num_beams, or the seed"):
        drawn(["the", "a cat"], logits_processor=[processor], num_beams=3, **options)


@pytest.mark.parametrize(
    ("sampler", "seed", "message"), [("min_q(p=0.1)", None, "min_q"), ("min_p", -1, "seed")]
)
def test_errors_have_one_line(sampler, seed, message):
    with pytest.raises(CorelmError, match=message) as caught:
        as_logits_processor(sampler, seed=seed)
    assert "\n" not in str(caught.value)


def test_a_plugin_of_ten_lines_runs_unchanged():
    sampler = TopA(a=0.3)
    processor = as_logits_processor(sampler, seed=2, tokenizer=TOKENIZER)
    assert drawn(PROMPTS, logits_processor=[processor]) == of_corelm(PROMPTS, sampler, seed=2)


def test_other_devices_run_natively_or_say_so(caplog, monkeypatch):
    """Stands in for an accelerator: arithmetic on the tensor's own library is asked for."""
    caplog.set_level(logging.INFO, "corelm.transformers")
    portable = as_logits_processor("min_p(p=0.1) | temperature(t=0.5)")
    scores = torch.randn((2, 9), generator=torch.Generator().manual_seed(0))
    native = portable._engine.native(scores)
    assert isinstance(native, torch.Tensor)
    np.testing.assert_allclose(native, portable(torch.zeros((2, 1)), scores), atol=1e-6)
    meta = as_logits_processor("min_p(p=0.1)")(None, torch.zeros((1, 9), device="meta"))
    assert meta.device.type == "meta"
    host = as_logits_processor("dry(multiplier=1)")
    with pytest.raises(NotImplementedError):  # the device has no data; the message came before
        host(torch.zeros((1, 1), device="meta"), torch.zeros((1, 9), device="meta"))
    assert "runs on the CPU: one copy of the logits a step" in messages(caplog)[0]


def test_tokens_that_are_never_drawn_here_are_never_drawn_there():
    tokenizer = tiny_transformers.tiny_tokenizer(pad_token="!")
    logits, never = torch.zeros((1, len(tokenizer) + 2)), [0, 264, 265]
    result = as_logits_processor("uniform", tokenizer=tokenizer)(torch.tensor([[5]]), logits)
    assert torch.isneginf(result[0]).nonzero().ravel().tolist() == never
    assert torch.equal(logits, torch.zeros_like(logits))
