"""Samplers in assisted decoding and prompt lookup: the texts of a plain generation."""

from itertools import pairwise

import pytest
import tiny_transformers  # noqa: F401 (skips without transformers)
import torch
from corelm_transformers import as_logits_processor
from tiny_transformers import ENGINE, TOKENIZER, encoded, tiny_model

from corelm import CorelmError
from corelm.interop.testing import tiny_tokenizer

PROMPT, LENGTH = "the cat the cat s the", 18
ASSISTANT = tiny_model(TOKENIZER)
with torch.no_grad():  # right now and then
    ASSISTANT.transformer.wte.weight += 0.15 * torch.randn(
        ASSISTANT.transformer.wte.weight.shape, generator=torch.Generator().manual_seed(1)
    )

READ_THE_PROMPT = (
    "repetition_penalty(penalty=1.5, skip_prompt=True)",
    "frequency_penalty(penalty=0.7, skip_prompt=True)",
    "presence_penalty(penalty=2, skip_prompt=True)",
    "no_repeat_ngram(n=2, skip_prompt=True)",
    "dry(multiplier=2, allowed_length=1, skip_prompt=True)",
    "min_length(n=9)",
    "length_bias(weight=1.5, start=2)",
    "schedule(first=temperature(t=3), last=top_k(k=2), over=6)",
    "force(words=[' cat'], at=3)",
)
OTHERS = ("top_p(p=0.9)", "repetition_penalty(penalty=1.5) | temperature(t=1.2)")
SURPRISALS = ("mirostat", "adaptive_p(target=0.3)")
ASSISTED = {
    "prompt lookup": {"prompt_lookup_num_tokens": 4},
    "assistant": {"assistant_model": ASSISTANT},
}


def generated(sampler, seed, tokenizer=TOKENIZER, engine=ENGINE, **options):
    processor = as_logits_processor(sampler, seed=seed, tokenizer=tokenizer)
    options |= {"max_new_tokens": LENGTH, "pad_token_id": 263, "do_sample": False}
    return engine.generate(**encoded([PROMPT]), logits_processor=[processor], **options).tolist()


@pytest.mark.parametrize("seed", [None, 7])
@pytest.mark.parametrize("way", ASSISTED)
@pytest.mark.parametrize("sampler", [*READ_THE_PROMPT, *OTHERS])
def test_the_text_is_that_of_a_plain_generation(sampler, way, seed):
    assert generated(sampler, seed, **ASSISTED[way]) == generated(sampler, seed)


def test_the_assistant_is_right_now_and_then():
    """The generations above take back some tokens and accept others."""
    lengths = []
    processor = as_logits_processor("repetition_penalty(penalty=1.2, skip_prompt=True)")
    engine, call = processor._engine, type(processor._engine).__call__

    def spy(self, logits, tokens, **options):
        lengths.append(len(tokens[0]))
        return call(self, logits, tokens, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(engine), "__call__", spy)
        options = {"max_new_tokens": LENGTH, "pad_token_id": 263, "do_sample": False}
        ENGINE.generate(
            **encoded([PROMPT]), logits_processor=[processor], assistant_model=ASSISTANT, **options
        )
    back = [one - other for one, other in pairwise(lengths) if other <= one]
    assert len(back) > 1
    assert len(set(back)) > 1


@pytest.mark.parametrize("seed", [None, 7])
@pytest.mark.parametrize("way", ASSISTED)
@pytest.mark.parametrize("sampler", SURPRISALS)
def test_samplers_that_read_surprisals_are_refused(sampler, way, seed):
    with pytest.raises(CorelmError, match="assisted decoding takes tokens back") as caught:
        generated(sampler, seed, **ASSISTED[way])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("way", ASSISTED)
@pytest.mark.parametrize("sampler", ["min_length(n=8)", "length_bias(weight=-99)"])
def test_no_text_ends_early_at_any_of_many_ends(sampler, way):
    """Prompt lookup asks the processor first, in a function that knows of no ends."""
    options = ASSISTED[way] | {"max_new_tokens": 8, "do_sample": True, "top_k": 0}
    inputs, ends = encoded([PROMPT]), [263, *range(20, 240)]
    processor = as_logits_processor(sampler, tokenizer=TOKENIZER)
    torch.manual_seed(0)
    for _ in range(30):
        [text] = ENGINE.generate(
            **inputs, logits_processor=[processor], eos_token_id=ends, pad_token_id=263, **options
        )
        tokens = text[inputs.input_ids.shape[1] :].tolist()
        first = int(sampler.startswith("length"))  # whose bias of the first token is 0
        assert (first and tokens[0] in ends) or not set(tokens[first:7]) & set(ends)


@pytest.mark.parametrize("way", ASSISTED)
@pytest.mark.parametrize("seed", [None, 7])
def test_guesses_are_accepted(seed, way, monkeypatch):
    """Fewer passes than tokens, with a seed too: a draw from made-up logits refused every guess."""
    passes, forward = [], type(ENGINE).forward

    def counted(self, *args, **options):
        passes.append(self is ENGINE)
        return forward(self, *args, **options)

    monkeypatch.setattr(type(ENGINE), "forward", counted)
    generated("force(words=[' the cat the cat the cat the cat'], at=0)", seed, **ASSISTED[way])
    assert sum(passes) < LENGTH - 3


def test_guesses_of_another_tokenizer_are_left_alone():
    """Their ids don't belong to the sampler's vocabulary."""
    other = tiny_tokenizer(additional_special_tokens=["<a>", "<b>"])
    assistant = tiny_model(other)
    for sampler in ("min_length(n=9)", "ban(words=['the'])", "repetition_penalty(penalty=1.5)"):
        processor = as_logits_processor(sampler, seed=7, tokenizer=TOKENIZER)
        found = ENGINE.generate(
            **encoded([PROMPT]), logits_processor=[processor], assistant_model=assistant,
            tokenizer=TOKENIZER, assistant_tokenizer=other, max_new_tokens=10,
            pad_token_id=263, do_sample=False,
        )  # fmt: skip
        assert found.tolist() == [text[: found.shape[1]] for text in generated(sampler, 7)]


@pytest.mark.parametrize("way", ASSISTED)
def test_settings_for_guesses_are_not_named(way, caplog):
    generated("top_p(p=0.9)", seed=7, **ASSISTED[way])
    assert "transformers applies" not in caplog.text
