"""Models of transformers as language models: sessions on their cache against full passes."""

import re

import numpy as np
import pytest
import tiny_transformers  # noqa: F401 (skips without transformers)
import torch
import transformers
from corelm_transformers import TransformersModel, as_logits_processor
from tiny_transformers import ENGINE, TOKENIZER, tiny_model, tiny_tokenizer

import corelm
from corelm import CorelmError
from corelm.abilities import can
from corelm.testing import LAWS

SIZE = len(TOKENIZER)
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "vocab_size": SIZE}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "initializer_range": 0.4}


def other_engine(kind):
    """Return a tiny model of another architecture, with random weights."""
    torch.manual_seed(1)
    if kind == "mistral":  # with a window of its own in each layer
        config = transformers.MistralConfig(**SMALL, **HEADS, sliding_window=5)
    elif kind == "gemma3":  # with and without a window, and with a larger embedding of its own
        config = transformers.Gemma3TextConfig(
            **SMALL, **HEADS, head_dim=8, sliding_window=4, query_pre_attn_scalar=8
        )
    elif kind == "llama":
        config = transformers.LlamaConfig(**SMALL, **HEADS)
    elif kind == "lfm2":  # whose cache says that it can be cropped, and cannot
        config = transformers.Lfm2Config(**SMALL, **HEADS, layer_types=["conv", "full_attention"])
    elif kind == "bamba":
        config = transformers.BambaConfig(
            **SMALL,
            **HEADS | {"initializer_range": 0.2},
            mamba_n_heads=4,
            mamba_d_head=8,
            mamba_d_state=8,
            attn_layer_indices=[1],
        )
    elif kind == "zamba2":  # which bounds its time steps in a pass over several tokens alone
        config = transformers.Zamba2Config(
            **SMALL,
            **HEADS | {"initializer_range": 1.0},
            mamba_d_state=8,
            mamba_headdim=8,
            n_mamba_heads=4,
            hybrid_layer_ids=[1],
            attention_head_dim=8,
            layers_block_type=["mamba", "hybrid"],
            time_step_min=0.1,
            time_step_max=0.2,
            time_step_floor=0.1,
        )
    elif kind == "recurrent_gemma":
        config = transformers.RecurrentGemmaConfig(
            **SMALL | {"num_hidden_layers": 3}, **HEADS, lru_width=16
        )
    elif kind == "bfloat16":
        return ENGINE.__class__(ENGINE.config).to(torch.bfloat16).eval()
    else:  # without attention: its state cannot be cut back
        config = transformers.MambaConfig(
            hidden_size=16, num_hidden_layers=2, vocab_size=SIZE, state_size=4, expand=2
        )
    config.max_position_embeddings = 24
    return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture(
    params=["gpt2", "llama", "mistral", "gemma3", "mamba", "lfm2", "bamba", "bfloat16"],
    scope="module",
)
def model(request):
    engine = ENGINE if request.param == "gpt2" else other_engine(request.param)
    return TransformersModel(engine, TOKENIZER)


def tolerance(model):
    if model._model.dtype != torch.float32:
        return 0.1
    # Where each window slides by itself, two of Mistral's logits differ by 1.2e-5.
    return 2e-5 if model._model.config.model_type == "mistral" else 1e-5


def test_a_notebook_shows_its_sizes():
    shown = TransformersModel(ENGINE, TOKENIZER)._repr_mimebundle_()
    assert f"{SIZE:,} tokens" in shown["text/html"]
    assert "TransformersModel" in shown["text/plain"]


@pytest.mark.parametrize("law", LAWS["model"])
def test_it_obeys_the_laws_of_models(model, law):
    law(model, tolerance=tolerance(model))


def test_a_pass_is_that_of_the_engine(model):
    texts = np.random.default_rng(0).integers(0, SIZE, (3, 9))
    with torch.no_grad():
        logits = model._model(torch.from_numpy(texts)).logits[:, -1].float().numpy()
    found = model.start(texts).next_logits()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, logits, atol=tolerance(model))
    np.testing.assert_allclose(
        model.next_token_distribution(texts), corelm.softmax(logits), atol=tolerance(model)
    )


def assert_writes_as_its_engine(model, engine):
    [text] = corelm.generate(model, "the cat", sampler="greedy", length=8)
    inputs = TOKENIZER("the cat", return_tensors="pt")
    expected = engine.generate(**inputs, max_new_tokens=8, do_sample=False)
    assert text.tokens == expected[0, inputs.input_ids.shape[1] :].tolist()


@pytest.mark.parametrize("kind", ["lfm2", "bamba"])
def test_texts_of_a_model_with_a_state_are_those_of_the_engine(kind):
    engine = other_engine(kind)
    assert_writes_as_its_engine(TransformersModel(engine, TOKENIZER), engine)


def test_the_engine_sees_each_token_once():
    model, seen = TransformersModel(ENGINE, TOKENIZER), []
    hook = ENGINE.transformer.wte.register_forward_hook(lambda _, ids, __: seen.append(ids[0]))
    session = model.start([[1, 2, 3]])
    for token in (4, 5, 6):
        session.next_logits()
        session.extend([token])
    session.next_logits()
    hook.remove()
    assert [ids.shape[1] for ids in seen] == [3, 1, 1, 1]


def test_hidden_states_are_those_of_the_engine(model):
    texts = np.random.default_rng(3).integers(0, SIZE, (2, 7))
    session = model.start(texts)
    assert can(session, "rewind")
    assert can(session, "hidden_states")
    with torch.no_grad():
        output = model._model(torch.from_numpy(texts), output_hidden_states=True)
    expected = output.hidden_states[-1][:, -4:].float().numpy()
    np.testing.assert_allclose(session.hidden_states(4), expected, atol=tolerance(model))


def test_decoders_of_every_kind():
    model = TransformersModel(ENGINE, TOKENIZER)
    greedy = corelm.generate(model, "the cat", sampler="greedy", length=40)
    from corelm_speculative import Speculative

    speculative = {"sampler": "greedy", "length": 40, "decoder": Speculative(guesses=3)}
    assert corelm.generate(model, "the cat", **speculative)[0].tokens == greedy[0].tokens
    from corelm_contrastive import Contrastive

    assert corelm.generate(model, "the cat", sampler="top_k(k=5)", decoder=Contrastive(), length=5)[
        0
    ].text


def test_the_start_token_is_that_of_the_tokenizer():
    tokenizer = tiny_tokenizer(start=True)
    model = TransformersModel(tiny_model(tokenizer), tokenizer)
    assert model.vocabulary.start == tokenizer.bos_token_id
    assert model.vocabulary.encode("the") == TOKENIZER.encode("the")
    inputs = tokenizer("the cat", return_tensors="pt")
    with torch.no_grad():
        expected = model._model(**inputs).logits[:, -1].numpy()
    session = model.start([model.vocabulary.encode("the cat")])
    np.testing.assert_allclose(session.next_logits(), expected, atol=1e-5)
    assert model.start(np.empty((1, 0), int)).next_logits().shape == (1, SIZE)


def test_several_tokens_may_end_a_text():
    engine = tiny_model(TOKENIZER)
    engine.generation_config.eos_token_id = [3, 263]
    assert TransformersModel(engine, TOKENIZER).vocabulary.ends == (3, 263)


@pytest.mark.parametrize("tokenizer", [TOKENIZER, None])
def test_ends_that_are_no_tokens_end_no_text(tokenizer):
    engine = tiny_model(TOKENIZER)
    engine.generation_config.eos_token_id = [-1, 100, 10**6, 100]
    model = TransformersModel(engine, TOKENIZER)
    assert model.vocabulary.ends == (100,)
    inputs = TOKENIZER("the cat", return_tensors="pt")
    for chain in ("min_length(n=4) | temperature(t=1.5)", "length_bias(weight=0.5)"):
        [text] = corelm.generate(model, "the cat", sampler=chain, length=12, seed=2)
        processor = as_logits_processor(chain, seed=2, tokenizer=tokenizer)
        options = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
        found = engine.generate(**inputs, **options, logits_processor=[processor])
        assert found[0, inputs.input_ids.shape[1] :].tolist() == text.tokens


def test_a_text_ends_with_any_of_the_end_tokens(tmp_path):
    """The finish reasons of a model that `corelm.load` opens; the end token adds no text."""
    engine = tiny_model(TOKENIZER)
    engine.generation_config.eos_token_id = [100, 101, 102, 263]
    engine.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    model = corelm.load(f"transformers:{tmp_path}")
    options = {"sampler": "uniform", "length": 60, "seed": 1}
    texts = corelm.generate(model, "the", n=40, **options)
    ended = [text for text in texts if text.finish_reason == "end"]
    assert len({text.tokens[-1] for text in ended}) >= 3
    for text in texts:
        ends = [token in model.vocabulary.ends for token in text.tokens]
        assert ends == [False] * (len(ends) - 1) + [text.finish_reason == "end"]
        assert text.finish_reason == "end" or len(text.tokens) == 60
        assert text.steps[-1].text == "" or text.finish_reason == "length"
    sample = next(text.sample for text in ended if len(text.tokens) > 1)
    stream = corelm.stream(model, "the", sample=sample, **options)
    *others, last = list(stream)
    assert last.finish_reason == "end"
    assert {step.finish_reason for step in others} == {None}
    [looped] = corelm.generate(model, "the", sampler="greedy", length=60, stop_loop=3, seed=1)
    assert looped.finish_reason == "loop"


def test_banned_text_is_taken_back_on_the_cache_of_the_engine(model):
    """Going back on the engine's cache gives the texts of new sessions."""
    backtrack = pytest.importorskip(
        "corelm_backtrack", reason="pip install ./plugins/corelm-backtrack"
    ).Backtrack(patterns=("[a-m]{2}", "cat"))
    options = {"sampler": "temperature(t=1.5)", "length": 14, "seed": 3, "decoder": backtrack}
    texts = corelm.generate(model, "the", n=3, **options)
    assert not any(re.search("[a-m]{2}", text.text, re.IGNORECASE) for text in texts)
    ids = TOKENIZER.encode("the")
    for text in texts:
        session = model.start([ids + text.tokens[:-1]])
        logits = session.next_logits()[0]
        expected = -corelm.log_softmax(logits.astype(np.float64))[text.tokens[-1]]
        assert text.steps[-1].model_surprisal == pytest.approx(expected, abs=10 * tolerance(model))


def test_a_model_may_have_more_logits_than_tokens():
    config = {"vocab_size": SIZE + 5}
    engine = tiny_model(TOKENIZER)
    engine.resize_token_embeddings(SIZE + 5)
    model = TransformersModel(engine, TOKENIZER)
    assert len(model.vocabulary) == config["vocab_size"]
    assert model.vocabulary.token_bytes(SIZE + 1) == b""
    assert model.vocabulary.decode([SIZE + 1]) == ""


def test_a_model_of_another_tokenizer_is_refused():
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["one more"])
    with pytest.raises(CorelmError, match="do not belong together"):
        TransformersModel(ENGINE, tokenizer)


def test_a_model_with_a_state_outside_its_cache_is_refused():
    with pytest.raises(CorelmError) as caught:
        TransformersModel(other_engine("recurrent_gemma"), TOKENIZER)
    message = str(caught.value)
    assert message.startswith("RecurrentGemmaForCausalLM keeps a part of its state outside its")
    assert "\n" not in message


def test_a_model_that_fails_on_the_cache_is_refused():
    config = transformers.xLSTMConfig(
        vocab_size=SIZE, hidden_size=16, num_heads=2, num_hidden_layers=2
    )
    engine = transformers.AutoModelForCausalLM.from_config(config)
    with pytest.raises(CorelmError, match="xLSTMForCausalLM does not run on transformers' cache"):
        TransformersModel(engine, TOKENIZER)


def test_a_model_that_differs_from_its_own_full_pass_is_named(caplog):
    engine = other_engine("zamba2")
    model = TransformersModel(engine, TOKENIZER)
    [message] = [r.getMessage() for r in caplog.records if r.name == "corelm.transformers"]
    assert "Zamba2ForCausalLM gives other logits token by token than in one pass" in message
    assert_writes_as_its_engine(model, engine)


def test_a_model_without_a_head_is_refused():
    with pytest.raises(CorelmError, match="GPT2Model is not a causal language model"):
        TransformersModel(ENGINE.transformer, TOKENIZER)


@pytest.mark.parametrize(
    ("kind", "passes"), [("gpt2", 1), ("llama", 1), ("mistral", 1), ("gemma3", 1), ("mamba", 3)]
)
def test_rows_of_different_lengths_are_one_pass_where_the_model_takes_a_mask(kind, passes):
    """A recurrent network takes none: its rows of each length are a pass."""
    model = TransformersModel(ENGINE if kind == "gpt2" else other_engine(kind), TOKENIZER)
    session = model.start([[1, 2, 3], [4], [5, 6]])
    session.next_logits()
    batches = []
    hook = model._model.get_output_embeddings().register_forward_pre_hook(
        lambda _, inputs: batches.append(len(inputs[0]))
    )
    session.extend([7, 8, 9])
    session.next_logits()
    hook.remove()
    assert (len(batches), sum(batches)) == (passes, 3)
