"""Kept sets and their wire formats: vLLM's and SGLang's."""

from types import SimpleNamespace

import numpy as np
import pytest
from corelm_replay import KeptSets, chain_logprobs, record_logits
from replay_cases import drawn_batch

import corelm
from corelm.errors import UsageError

SETS = [[[5, 7], [2], [1, 3, 4]], [[9]]]


@pytest.mark.parametrize(
    "outputs",
    [
        SETS,
        [{"sampling_mask": text} for text in SETS],
        [{"token_ids": [5, 7, 2, 1, 3, 4], "offsets": [0, 2, 3, 6]}, SETS[1]],
        [SimpleNamespace(sampling_mask=SimpleNamespace(token_ids=text)) for text in SETS],
        [SimpleNamespace(sampling_mask=SimpleNamespace(token_ids=[5, 7, 2, 1, 3, 4],
                                                       offsets=[0, 2, 3, 6])), SETS[1]],
    ],
)  # fmt: skip
def test_vllms_forms_are_read(outputs):
    kept = KeptSets.from_vllm(outputs)
    assert kept.lists() == SETS
    assert kept.sizes.tolist() == [[2, 1, 3], [1, 0, 0]]


def test_what_is_written_is_read_again():
    kept = KeptSets.of(SETS)
    assert KeptSets.from_vllm(kept.to_vllm()).lists() == SETS
    sent = [{"meta_info": {"output_token_sampling_mask": text}} for text in SETS]
    assert KeptSets.from_sglang(sent).lists() == SETS


def test_an_answer_without_masks_says_what_to_request():
    with pytest.raises(UsageError, match="return_sampling_mask=True"):
        KeptSets.from_sglang([{"meta_info": {}}])
    with pytest.raises(UsageError, match="--return-sampling-mask"):
        KeptSets.from_vllm([{"sampling_mask": None}])


def test_no_texts_and_texts_without_tokens():
    assert KeptSets.of([]).lists() == []
    assert KeptSets.of([[], []]).lists() == [[], []]


@pytest.mark.parametrize(
    ("chain", "rest"),
    [
        ("top_p(p=0.8)", "stochastic"),
        ("top_k(k=3) | min_p(p=0.1) | temperature(t=0.6)", "temperature(t=0.6)"),
        ("repetition_penalty(penalty=1.4) | temperature(t=0.6) | top_p(p=0.7)",
         "repetition_penalty(penalty=1.4) | temperature(t=0.6)"),
        ("ban(words=[3]) | mirostat(tau=2)", "stochastic"),
    ],
)  # fmt: skip
def test_the_mask_without_the_filters_and_the_chain_without_the_mask_agree(chain, rest):
    logits, tokens, mask, drawn_with = drawn_batch(chain)
    kept = record_logits(chain, logits, tokens, prompt_length=4, mask=mask).kept
    sent = KeptSets.from_vllm(kept.to_vllm())
    from_mask = chain_logprobs(rest, logits, tokens, prompt_length=4, mask=mask, kept=sent)
    both = chain_logprobs(chain, logits, tokens, prompt_length=4, mask=mask, kept=sent)
    np.testing.assert_allclose(from_mask, drawn_with, atol=1e-9)
    np.testing.assert_allclose(both, drawn_with, atol=1e-9)


def test_recorded_sets_hold_after_an_update_that_would_change_them():
    logits, tokens, mask, _ = drawn_batch("top_p(p=0.5)")
    kept = record_logits("top_p(p=0.5)", logits, tokens, prompt_length=4, mask=mask).kept
    moved = logits[..., ::-1].copy()  # another policy, other likeliest tokens
    alone = chain_logprobs("top_p(p=0.5)", moved, tokens, prompt_length=4, mask=mask)
    assert (alone == -np.inf).any()
    found = chain_logprobs("top_p(p=0.5)", moved, tokens, prompt_length=4, mask=mask, kept=kept)
    for row, at in np.argwhere(mask[:, 4:]):
        ids = kept.ids(row, at)
        inside = np.log(corelm.softmax(moved[row, at, ids]))
        token = tokens[row, 4 + at]
        assert found[row, at] == pytest.approx(inside[ids.tolist().index(token)])
