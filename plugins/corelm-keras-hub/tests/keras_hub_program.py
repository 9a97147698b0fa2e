"""Compute the figures that the tests compare on one backend of Keras, and print JSON.

KERAS_BACKEND=jax python keras_hub_program.py SAMPLER
"""

from __future__ import annotations

import json
import sys

import keras_hub
import numpy as np
import tiny_keras_hub
from corelm_keras_hub import KerasHubModel, as_sampler
from keras import ops

import corelm
from corelm import Sampler, mask_logits, param, softmax

PROMPTS = ["the", "the cat", "a cat and the cat"]
LENGTH = 18


class TopA(Sampler):
    """The sampler of a plugin, as the README has it."""

    a: float = param(0.2, "share of the squared largest probability", ge=0, le=1)

    def __call__(self, logits, context):
        p = softmax(logits)
        return mask_logits(logits, p >= self.a * p.max(axis=-1, keepdims=True) ** 2)


def full_pass(network, texts):
    """Logits at every token, from one pass over padded texts without a cache."""
    batch, time = len(texts), len(texts[0])
    ids = np.zeros((3, tiny_keras_hub.CONTEXT), np.int32)  # one shape, so that it compiles once
    ids[:batch, :time] = texts
    logits = network.predict_on_batch({"token_ids": ids, "padding_mask": np.ones_like(ids)})
    return logits[:batch, :time].astype(np.float32)


def session_differences(causal_lm):
    """Return the largest differences between a session's logits and a full pass's."""
    model = KerasHubModel(causal_lm)
    network = keras_hub.models.GPT2CausalLM(backbone=causal_lm.backbone)
    first = model.vocabulary.encode("the cat")
    session, start = model.start([first]), model.vocabulary.start
    found = {}

    def compare(name, logits, texts):
        if name != "beyond it":
            texts = [[start, *text] for text in texts]
        expected = full_pass(network, texts)[:, -logits.shape[1] :]
        found[name] = float(np.abs(logits - expected).max())

    compare("prompt", session.last_logits(2), [first])
    session.select([0, 0, 0])
    session.extend([1, 2, 3])
    compare("forked", session.last_logits(1), [[*first, i] for i in (1, 2, 3)])
    session.select([2, 0])
    session.extend([[4, 5], [6, 7]])
    compare("selected", session.last_logits(3), [[*first, 3, 4, 5], [*first, 1, 6, 7]])
    session.rewind(2)
    session.extend([8, 9])
    texts = [[*first, 3, 8], [*first, 1, 9]]
    compare("rewound", session.last_logits(2), texts)
    more = np.arange(2 * 40).reshape(2, 40)[:, len(texts[0]) + 1 : tiny_keras_hub.CONTEXT]
    session.extend(more)
    texts = [[*text, *row] for text, row in zip(texts, more.tolist(), strict=True)]
    compare("full context", session.last_logits(20), texts)
    session.extend([10, 11])
    half = tiny_keras_hub.CONTEXT // 2  # which the window slides by
    texts = [[*text[half - 1 :], i] for text, i in zip(texts, (10, 11), strict=True)]
    compare("beyond it", session.last_logits(1), texts)
    return found, list(session.hidden_states(2).shape)


def engine_texts(causal_lm, sampler, **options):
    """Return the ids that KerasHub generates after each prompt, up to the end of the text."""
    causal_lm.compile(sampler=as_sampler(sampler, seed=7), **options)
    inputs = causal_lm.preprocessor.generate_preprocess(PROMPTS, sequence_length=LENGTH)
    lengths = ops.convert_to_numpy(inputs["padding_mask"]).sum(axis=1).tolist()
    end = causal_lm.preprocessor.tokenizer.end_token_id
    outputs = causal_lm.make_generate_function()(inputs, stop_token_ids=[end])
    ids, mask = (ops.convert_to_numpy(outputs[k]) for k in ("token_ids", "padding_mask"))
    return [
        row[n:][kept[n:].astype(bool)].tolist()
        for row, kept, n in zip(ids, mask, lengths, strict=True)
    ]


def corelm_texts(model, sampler):
    """Return the ids that corelm generates after each prompt: sample i for row i."""
    lengths = [LENGTH - 1 - len(model.vocabulary.encode(prompt)) for prompt in PROMPTS]
    return [
        corelm.generate(model, prompt, sampler=sampler, length=length, n=len(PROMPTS), seed=7)[
            i
        ].tokens
        for i, (prompt, length) in enumerate(zip(PROMPTS, lengths, strict=True))
    ]


def figures(expression):
    """Return the figures of the backend in use, with a chain that ends in a plugin's sampler."""
    causal_lm = tiny_keras_hub.gpt2()
    model = KerasHubModel(causal_lm)
    differences, hidden = session_differences(causal_lm)
    sampler = corelm.sampler(expression) | TopA(a=0.01)
    texts = {
        "engine": engine_texts(causal_lm, sampler, jit_compile=False),
        "corelm": corelm_texts(model, sampler),
    }
    causal_lm.compile(sampler=as_sampler("temperature(t=1.5)"), jit_compile=False)
    free = [causal_lm.generate("the", max_length=LENGTH) for _ in range(2)]
    return {"differences": differences, "hidden": hidden, "free": free} | texts


if __name__ == "__main__":
    print(json.dumps(figures(sys.argv[1])))
