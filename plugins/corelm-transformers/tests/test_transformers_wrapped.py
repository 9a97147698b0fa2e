"""Logits processors of transformers as samplers."""

import numpy as np
import pytest
import tiny_transformers  # noqa: F401 (skips without transformers)
import torch
import transformers
from corelm_transformers import from_logits_processor
from transformers import LogitsProcessor, LogitsProcessorList

import corelm
from corelm.testing import ToyModel

LOGITS = np.random.default_rng(0).normal(size=(20, 300)).astype(np.float32) * 3
TOKENS = np.random.default_rng(1).integers(0, 300, (20, 12))

PROCESSORS = [
    (transformers.TemperatureLogitsWarper(0.7), "TemperatureLogitsWarper(temperature=0.7)"),
    (transformers.TopKLogitsWarper(top_k=5), "TopKLogitsWarper(top_k=5)"),
    (transformers.TopPLogitsWarper(top_p=0.9), "TopPLogitsWarper(top_p=0.9)"),
    (transformers.MinPLogitsWarper(min_p=0.05), "MinPLogitsWarper(min_p=0.05)"),
    (transformers.EpsilonLogitsWarper(3e-4), "EpsilonLogitsWarper(epsilon=0.0003)"),
    (transformers.EtaLogitsWarper(3e-4), "EtaLogitsWarper(epsilon=0.0003)"),
    (
        transformers.RepetitionPenaltyLogitsProcessor(1.3),
        "RepetitionPenaltyLogitsProcessor(penalty=1.3)",
    ),
    (transformers.NoRepeatNGramLogitsProcessor(2), "NoRepeatNGramLogitsProcessor(ngram_size=2)"),
]


@pytest.mark.parametrize(("processor", "name"), PROCESSORS, ids=[name for _, name in PROCESSORS])
def test_a_processor_as_a_sampler(processor, name):
    sampler = from_logits_processor(processor)
    assert str(sampler) == name
    assert repr(sampler) == f"from_logits_processor({name})"
    scores = processor(torch.from_numpy(TOKENS), torch.from_numpy(LOGITS.copy()))
    expected = torch.softmax(scores, -1).numpy()
    found = corelm.sampling_distribution(sampler, LOGITS, TOKENS)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_names_tell_processors_apart_and_are_stable():
    make = lambda p: from_logits_processor(transformers.TopPLogitsWarper(top_p=p))  # noqa: E731
    assert make(0.9) == make(0.9)
    assert make(0.9) != make(0.8)


def test_what_it_reads():
    warper = from_logits_processor(transformers.TopPLogitsWarper(top_p=0.9))
    penalty = from_logits_processor(transformers.RepetitionPenaltyLogitsProcessor(1.3))
    assert warper.reads == frozenset()
    assert penalty.reads == {"tokens"}


def test_a_list_and_a_processor_of_your_own():
    class Shift(LogitsProcessor):
        def __init__(self, ids):
            self.ids = ids

        def __call__(self, input_ids, scores):
            scores[:, self.ids] += 1  # it writes into its input
            return scores

    chain = LogitsProcessorList([Shift([0]), transformers.TopKLogitsWarper(2)])
    sampler = from_logits_processor(chain)
    assert str(sampler) == "LogitsProcessorList([Shift(ids=[0]), TopKLogitsWarper(top_k=2)])"
    logits = np.zeros((1, 3), np.float32)
    logits.setflags(write=False)
    found = corelm.sampling_distribution(sampler, np.array([0.5, 0.0, 1.0]))
    assert found.round(4).tolist() == pytest.approx([0.6225, 0, 0.3775], abs=1e-4)
    assert sampler(logits, corelm.Context.of([[0]])).shape == (1, 3)


def test_padded_rows():
    sampler = from_logits_processor(transformers.RepetitionPenaltyLogitsProcessor(2.0))
    result = sampler(np.ones((2, 4), np.float32), corelm.Context.of([[-1, 3], [0, 1]]))
    assert result.tolist() == [[1, 1, 1, 0.5], [0.5, 0.5, 1, 1]]


def test_a_report_compares_it():
    theirs = from_logits_processor(transformers.TopPLogitsWarper(top_p=0.8))
    options = {"prompts": ["the"], "length": 5, "n": 2, "seed": 1}
    report = corelm.compare(ToyModel(), [corelm.sampler("top_p(p=0.8)"), theirs], **options)
    text = report.to_markdown() if hasattr(report, "to_markdown") else str(report)
    assert "TopPLogitsWarper(top_p=0.8)" in text
