"""Tiny random models and tokenizers of transformers, made without a download."""

import pytest

transformers = pytest.importorskip(
    "transformers", minversion="5.18", reason="pip install transformers"
)
torch = pytest.importorskip("torch", reason="pip install torch")

import corelm.interop.testing  # noqa: E402
from corelm.interop.testing import tiny_tokenizer  # noqa: E402

torch.set_num_threads(1)  # the models are tiny


def tiny_model(tokenizer, seed=0, **options):
    """Return a GPT-2 with large random weights, so that its distributions differ."""
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=32,
        n_embd=16,
        n_layer=2,
        n_head=2,
        initializer_range=0.4,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **options,
    )
    torch.manual_seed(seed)
    return transformers.GPT2LMHeadModel(config).eval()


TOKENIZER = tiny_tokenizer()
ENGINE = tiny_model(TOKENIZER)
PROMPTS = ["see the cat sit", "the", "a cat"]

SAMPLERS = [*corelm.interop.testing.SAMPLERS, "p_less"]  # a plugin


def encoded(prompts):
    """Return prompts as tensors, padded on the left."""
    return TOKENIZER(prompts, return_tensors="pt", padding=True)


def messages(caplog):
    """Return what corelm has logged."""
    records = [r for r in caplog.records if r.name == "corelm.transformers"]
    return [record.getMessage() for record in records]


class CallsAnother(transformers.LogitsProcessor):
    """A processor of somebody else that calls corelm's."""

    def __init__(self, processor):
        self.processor = processor

    def __call__(self, input_ids, scores):
        return self.processor(input_ids, scores)
