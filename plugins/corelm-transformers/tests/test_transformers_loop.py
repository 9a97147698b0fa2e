"""What `generate` keeps from its custom loop, and what asks for another loop."""

import pytest
import tiny_transformers  # noqa: F401 (skips without transformers)
import transformers
from corelm_transformers import TransformersModel, corelm_loop
from tiny_transformers import ENGINE, TOKENIZER, encoded, tiny_model

import corelm
from corelm import CorelmError

MODEL = TransformersModel(ENGINE, TOKENIZER)
LENGTH = 8


def generated(prompts=("the cat",), sampler="stochastic", seed=7, **options):
    """Return the tokens that the loop adds to each prompt."""
    inputs = encoded(list(prompts))
    loop = {"custom_generate": corelm_loop, "sampler": sampler, "seed": seed}
    options = {"tokenizer": TOKENIZER, "max_new_tokens": LENGTH, "pad_token_id": 263} | options
    texts = ENGINE.generate(**inputs, **loop, **options)
    return texts[:, inputs.input_ids.shape[1] :].tolist()


def of_corelm(n=1, **options):
    options = {"sampler": "stochastic", "length": LENGTH, "seed": 7} | options
    return corelm.generate(MODEL, "the cat", n=n, **options)


class Received(transformers.TextStreamer):
    """A streamer that keeps what it is given."""

    def __init__(self):
        super().__init__(TOKENIZER, skip_prompt=True)
        self.text, self.ended = "", False

    def on_finalized_text(self, text, stream_end=False):
        self.text, self.ended = self.text + text, stream_end


def test_a_streamer_receives_the_text_and_its_end():
    streamer = Received()
    [tokens] = generated(streamer=streamer)
    assert streamer.text == TOKENIZER.decode(tokens)
    assert streamer.ended


def test_a_streamer_in_a_thread_comes_to_an_end():
    from threading import Thread

    streamer = transformers.TextIteratorStreamer(TOKENIZER, skip_prompt=True, timeout=600)
    thread = Thread(target=generated, kwargs={"streamer": streamer})
    thread.start()
    text = "".join(streamer)  # without the end it would wait for ever
    thread.join()
    assert text == TOKENIZER.decode(generated()[0])


@pytest.mark.parametrize("seed", [None, 7])
def test_stop_strings_end_a_text(seed):
    sampler = "force(words=[' the cat sees'], at=2)"
    [tokens] = generated(sampler=sampler, seed=seed, stop_strings=["cat"])
    assert TOKENIZER.decode(tokens).endswith(" the cat")
    assert len(tokens) < LENGTH


def test_stop_strings_need_the_tokenizer():
    with pytest.raises(CorelmError, match="pass the tokenizer") as caught:
        generated(stop_strings=["cat"], tokenizer=None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cache", [None, "static"])
@pytest.mark.parametrize("settings", [{}, {"do_sample": True}])
def test_several_texts_of_a_prompt_are_the_samples_of_corelm(settings, cache):
    found = generated(num_return_sequences=3, cache_implementation=cache, **settings)
    for tokens, text in zip(found, of_corelm(3), strict=True):
        assert tokens[: len(text.tokens)] == text.tokens


def test_several_texts_of_padded_prompts():
    found = generated(["see the cat sit", "the"], num_return_sequences=2)
    steps = corelm.stream(MODEL, "the", sampler="stochastic", length=LENGTH, seed=7, sample=3)
    expected = [int(step.tokens[0]) for step in steps]
    assert found[3][: len(expected)] == expected


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ({"assistant_model": tiny_model(TOKENIZER)}, "assisted generation"),
        ({"prompt_lookup_num_tokens": 3}, "assisted generation"),
        ({"penalty_alpha": 0.5, "top_k": 4}, "contrastive search"),
        ({"dola_layers": "low"}, "dola generation"),
        ({"num_beams": 2}, "beam search"),
    ],
)
def test_what_asks_for_another_loop_is_refused(settings, mode):
    with pytest.raises(CorelmError, match=f"does no {mode}; leave out") as caught:
        generated(**settings)
    assert "\n" not in str(caught.value)
