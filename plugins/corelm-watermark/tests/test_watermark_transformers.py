"""Equal to transformers' own processors."""

from __future__ import annotations

import numpy as np
import pytest
from corelm_watermark import GreenList, SynthID
from numpy.lib.stride_tricks import sliding_window_view
from programs import python

from corelm import Context, softmax

torch = pytest.importorskip("torch", reason="pip install torch")
transformers = pytest.importorskip("transformers", reason="pip install transformers")

SIZE = 200
RNG = np.random.default_rng(1)
KEYS = [654, 400, 836, *RNG.integers(-(2**62), 2**62, 27).tolist()]
PROMPT = RNG.integers(0, SIZE, (3, 6))
DRAWN = np.concatenate([RNG.integers(0, SIZE, (3, 8)), RNG.integers(0, 2, (3, 20))], axis=1)
"""28 tokens; in the last 20 contexts of four tokens repeat."""


def synthid_processor(history):
    return transformers.SynthIDTextWatermarkLogitsProcessor(
        ngram_len=5,
        keys=KEYS,
        sampling_table_size=2**16,
        sampling_table_seed=0,
        context_history_size=history,
        device=torch.device("cpu"),
    )


@pytest.mark.parametrize("history", [1024, 4])
def test_synthid_has_the_distributions_of_the_processor_at_every_step(history):
    processor, sampler = synthid_processor(history), SynthID(keys=KEYS, history=history)
    tokens, unmarked = np.concatenate([PROMPT, DRAWN], axis=1), 0
    for end in range(6, tokens.shape[1] + 1):
        logits = np.random.default_rng(end).normal(0, 3, (3, SIZE))
        theirs = processor(torch.tensor(tokens[:, :end]), torch.tensor(logits)).numpy()
        ours = sampler(logits, Context.of(tokens[:, :end], prompt_length=6))
        assert softmax(ours) == pytest.approx(softmax(theirs), rel=1e-9, abs=1e-14)
        same = [np.array_equal(*pair) for pair in zip(ours, logits, strict=True)]
        assert same == [np.array_equal(*pair) for pair in zip(theirs, logits, strict=True)]
        unmarked += sum(same)
    assert unmarked > 2  # some contexts did repeat


def test_synthid_has_the_g_values_of_the_processor():
    theirs = synthid_processor(1024).compute_g_values(torch.tensor(DRAWN)).numpy()
    grams = sliding_window_view(DRAWN, 5, axis=1)
    ours = SynthID(keys=KEYS).marks(grams.reshape(-1, 5), SIZE)
    assert np.array_equal(ours.reshape(theirs.shape), theirs)


@pytest.mark.parametrize("share", [0.25, 0.3])
def test_the_green_list_has_the_logits_of_the_processor(share):
    processor = transformers.WatermarkLogitsProcessor(SIZE, "cpu", share, 1.5, 15485863)
    sampler = GreenList(key="15485863", gamma=share, delta=1.5, scheme="transformers")
    logits = RNG.normal(0, 3, (3, SIZE)).astype(np.float32)
    theirs = processor(torch.tensor(DRAWN), torch.tensor(logits)).numpy()
    assert np.array_equal(sampler(logits, Context.of(DRAWN)), theirs)


def test_without_torch_the_command_that_installs_it_is_shown():
    code = (
        "import sys; sys.modules['torch'] = None; import corelm;"
        "corelm.sampling_distribution(corelm.sampler("
        "\"green_list(key='1', scheme='transformers')\"), [0.0, 1.0], tokens=[1])"
    )
    done = python("-c", code)
    assert "scheme='transformers' needs torch: pip install torch" in done.stderr
