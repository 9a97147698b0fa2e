"""The numbers of test_goldens.py in the engines themselves: their newest versions still have them.

Each engine gets the rows that its own functions compute, with llama.cpp's samplers called through
its C interface.
"""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from test_goldens import DISTRIBUTIONS, IDS, LOGITS

import corelm

LETTERS = 26
"""The logits of KerasHub's rows."""
FEW = 50
"""Tokens that KerasHub draws to see which it can draw."""


def of_engine(table, engine):
    """Return the rows of an engine's own settings: settings, input, context, output."""
    return [(row[0][1], *row[1:]) for row in table if row[0][0] == engine]


def of_expressions(table, names):
    """Return the rows whose sampler has one of these names, and takes numbers alone."""
    rows = []
    for sampler, *row in table:
        stages = corelm.sampler(sampler).stages if isinstance(sampler, str) else ()
        if len(stages) == 1 and stages[0].name in names:
            values = {each.name: getattr(stages[0], each.name) for each in stages[0].parameters()}
            rows.append((stages[0].name, values, *row))
    return rows


# llama.cpp


def llama_samplers(values, tokens, size):
    """Yield llama.cpp's samplers of settings, in their order; they have accepted the tokens."""
    import llama_cpp as llama

    last = values.get("repeat_last_n", 64)
    made = {
        "temperature": lambda t: llama.llama_sampler_init_temp_ext(
            t, values.get("dynatemp_range", 0.0), values.get("dynatemp_exponent", 1.0)
        ) if "dynatemp_range" in values else llama.llama_sampler_init_temp(t),
        "top_k": llama.llama_sampler_init_top_k,
        "top_p": lambda p: llama.llama_sampler_init_top_p(p, 0),
        "min_p": lambda p: llama.llama_sampler_init_min_p(p, 0),
        "typical_p": lambda p: llama.llama_sampler_init_typical(p, 0),
        "top_n_sigma": llama.llama_sampler_init_top_n_sigma,
        "xtc": lambda _: llama.llama_sampler_init_xtc(1.0, values["xtc_threshold"], 0, 1),
        "penalties": lambda _: llama.llama_sampler_init_penalties(
            size, last, values.get("repeat_penalty", 1.0), values.get("frequency_penalty", 0.0),
            values.get("presence_penalty", 0.0),
        ),
    }  # fmt: skip
    for name in values["samplers"]:
        sampler = made[name](values.get(name))
        for token in tokens:
            llama.llama_sampler_accept(sampler, token)
        yield sampler
        llama.llama_sampler_free(sampler)


def in_llama_cpp(values, logits, tokens):
    """Return the distribution after llama.cpp's samplers."""
    import llama_cpp as llama

    candidates = (llama.llama_token_data * len(logits))(
        *((id, logit, 0.0) for id, logit in enumerate(logits))
    )
    array = llama.llama_token_data_array(candidates, len(logits), -1, False)
    for sampler in llama_samplers(values, tokens, len(logits)):
        llama.llama_sampler_apply(sampler, ctypes.byref(array))
    after = np.full((1, len(logits)), -np.inf)
    for i in range(array.size):
        after[0, array.data[i].id] = array.data[i].logit
    return corelm.softmax(after)[0]


@pytest.mark.engines("llama_cpp")
@pytest.mark.parametrize(
    ("values", "before", "tokens", "after"), of_engine(DISTRIBUTIONS, "llama.cpp")
)
def test_distributions_in_llama_cpp(values, before, tokens, after):
    if "xtc" in values["samplers"]:  # the table has both sides of the coin
        after = (np.asarray(after) - 0.01 * np.asarray(before)) / 0.99
    result = in_llama_cpp(values, np.log(before), tokens)
    assert result == pytest.approx(after, abs=5e-5)


@pytest.mark.engines("llama_cpp")
@pytest.mark.parametrize(("values", "logits", "tokens", "ids"), of_engine(IDS, "llama.cpp"))
def test_possible_ids_in_llama_cpp(values, logits, tokens, ids):
    result = in_llama_cpp(values, logits, tokens)
    assert {*np.flatnonzero(result > 0).tolist()} == ids


# transformers


PROCESSORS = {
    "top_k": ("TopKLogitsWarper", {"k": "top_k"}), "top_p": ("TopPLogitsWarper", {"p": "top_p"}),
    "top_h": ("TopHLogitsWarper", {"h": "top_h"}), "min_p": ("MinPLogitsWarper", {"p": "min_p"}),
    "typical": ("TypicalLogitsWarper", {"p": "mass"}),
    "epsilon": ("EpsilonLogitsWarper", {"epsilon": "epsilon"}),
    "eta": ("EtaLogitsWarper", {"epsilon": "epsilon"}),
    "no_repeat_ngram": ("NoRepeatNGramLogitsProcessor", {"n": "ngram_size"}),
    "repetition_penalty": ("RepetitionPenaltyLogitsProcessor", {"penalty": "penalty"}),
}  # fmt: skip


def in_transformers(name, values, logits, tokens, prompt=0):
    """Return the logits after a processor of transformers."""
    import torch
    import transformers

    kind, names = PROCESSORS[name]
    options = {theirs: values[ours] for ours, theirs in names.items()}
    if values.get("skip_prompt"):
        options["prompt_ignore_length"] = prompt
    processor = getattr(transformers, kind)(**options)
    ids = torch.tensor([list(tokens)], dtype=torch.long)
    return processor(ids, torch.tensor(np.array([logits]), dtype=torch.float32))[0].numpy()


@pytest.mark.engines("torch", "transformers")
@pytest.mark.parametrize(
    ("name", "values", "before", "tokens", "after"), of_expressions(DISTRIBUTIONS, PROCESSORS)
)
def test_distributions_in_transformers(name, values, before, tokens, after):
    with np.errstate(divide="ignore"):
        logits = in_transformers(name, values, np.log(before), tokens)
    assert corelm.softmax(logits[None])[0] == pytest.approx(after, abs=5e-5)


@pytest.mark.engines("torch", "transformers")
@pytest.mark.parametrize(
    ("name", "values", "before", "tokens", "ids"),
    [row for row in of_expressions(IDS, PROCESSORS) if len(row[2]) != LETTERS],
)
def test_possible_ids_in_transformers(name, values, before, tokens, ids):
    logits = in_transformers(name, values, before, tokens)
    assert {*np.flatnonzero(corelm.softmax(logits[None])[0] > 1e-12).tolist()} == ids


@pytest.mark.engines("torch", "transformers")
@pytest.mark.parametrize(
    ("name", "values", "before", "tokens", "prompt", "changes"),
    [row for row in of_expressions(LOGITS, PROCESSORS) if not row[1].get("normalised")],
)
def test_logits_in_transformers(name, values, before, tokens, prompt, changes):
    after = in_transformers(name, values, before, tokens, prompt)
    expected = [changes.get(id, logit) for id, logit in enumerate(before)]
    assert after == pytest.approx(expected, rel=1e-6, abs=5e-5)


# mlx-lm


@pytest.mark.engines("mlx_lm")
@pytest.mark.parametrize(
    ("values", "before", "tokens", "after"), of_engine(DISTRIBUTIONS, "mlx-lm")
)
def test_distributions_in_mlx(values, before, tokens, after, monkeypatch):
    import mlx.core as mx
    from mlx_lm import sample_utils

    draw = lambda logits, temp: mx.softmax(logits / temp, -1)  # noqa: E731
    monkeypatch.setattr(sample_utils, "categorical_sampling", draw)
    sampler = sample_utils.make_sampler(**values)
    with np.errstate(divide="ignore"):
        result = np.array(sampler(mx.array(np.log([before]), dtype=mx.float32)))[0]
    assert result == pytest.approx(after, abs=5e-4)


@pytest.mark.engines("mlx_lm")
@pytest.mark.parametrize(
    ("values", "before", "tokens", "prompt", "changes"), of_engine(LOGITS, "mlx-lm")
)
def test_logits_in_mlx(values, before, tokens, prompt, changes):
    import mlx.core as mx
    from mlx_lm import sample_utils

    logits, penalties = mx.array([before], dtype=mx.float32), dict(values)
    penalties.pop("temp")
    for processor in sample_utils.make_logits_processors(**penalties):
        logits = processor(mx.array(tokens), logits)
    expected = [changes.get(id, logit) for id, logit in enumerate(before)]
    assert np.array(logits)[0] == pytest.approx(expected, abs=5e-4)


# KerasHub


@pytest.mark.engines("keras_hub")
@pytest.mark.filterwarnings("default")  # it imports vLLM where that is installed
@pytest.mark.parametrize(
    ("kind", "options", "logits", "ids"),
    [
        (name.title().replace("_", "") + "Sampler", options, logits, ids)
        for name, values, logits, _, ids in of_expressions(IDS, {"greedy", "top_k", "top_p"})
        for options in [{name[-1]: values[name[-1]]} if name != "greedy" else {}]
        if len(logits) == LETTERS
    ],
)
def test_possible_ids_in_keras_hub(kind, options, logits, ids):
    import keras
    import keras_hub

    sampler = getattr(keras_hub.samplers, kind)(**options)
    rows = keras.ops.convert_to_tensor(np.tile(logits, (FEW, 1)).astype("float32"))
    drawn = np.asarray(sampler.get_next_token(sampler.compute_probabilities(rows)))
    # Of equal logits at the cut-off, the sort of the backend keeps some.
    assert {*logits[drawn]} <= {*logits[[*ids]]}
    assert len({*drawn.tolist()}) <= len(ids)
