"""One call of `generate` after another: its ends, its settings, its tokenizer, its prompt."""

import re
import weakref
from pathlib import Path

import pytest
import tiny_transformers  # noqa: F401 (skips without transformers)
import torch
import transformers
from corelm_transformers import TransformersModel, as_logits_processor, corelm_loop
from engine_samplers import Fails
from tiny_transformers import ENGINE, TOKENIZER, CallsAnother, encoded, messages, tiny_model

import corelm
from corelm.interop.testing import tiny_tokenizer

PROMPTS = ["see the cat sit", "the", "a cat", "the the"]
ENDS = [263, *range(40, 90)]
SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64}
CONFIGS = {"llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config}


def model_of(name="gpt2", tokenizer=TOKENIZER, **settings):
    """Return a tiny random model whose generation config has these settings."""
    if name == "gpt2":
        model = tiny_model(tokenizer)
    else:
        torch.manual_seed(0)
        options = {"initializer_range": 0.4, "vocab_size": len(tokenizer)}
        config = CONFIGS[name](**SIZES, **HEADS, **options)
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
    special = {"pad_token_id": 263, "bos_token_id": 263, "eos_token_id": 263}
    model.generation_config = transformers.GenerationConfig(**special | settings)
    return model


def drawn(model, inputs, length=12, **options):
    """Return the tokens that transformers adds to each prompt, up to an end."""
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    texts = model.generate(**inputs, max_new_tokens=length, **options)
    width = inputs["input_ids"].shape[1] if "input_ids" in inputs else 0
    return [until_end(text[width:].tolist(), ends) for text in texts]


def until_end(tokens, ends):
    return tokens[: next((i for i, token in enumerate(tokens) if token in ends), len(tokens))]


def of_corelm(model, prompts, sampler, tokenizer=TOKENIZER, length=12, seed=7):
    """Return the tokens of corelm.generate: row i is sample i of its prompt."""
    model = TransformersModel(model, tokenizer)
    texts = [
        corelm.generate(model, prompt, sampler=sampler, length=length, n=i + 1, seed=seed)[i]
        for i, prompt in enumerate(prompts)
    ]
    return [until_end(text.tokens, model.vocabulary.ends) for text in texts]


def ways(sampler, tokenizer=TOKENIZER, seed=7):
    """Return the options of both ways to sample with corelm."""
    processor = as_logits_processor(sampler, seed=seed, tokenizer=tokenizer)
    loop = {"custom_generate": corelm_loop, "sampler": sampler, "seed": seed}
    return [{"logits_processor": [processor]}, {**loop, "tokenizer": tokenizer}]


# ---- several ends ----


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen2"])
@pytest.mark.parametrize(
    "sampler",
    [
        "min_length(n=6)",
        "length_bias(weight=1.0, start=3)",
        "length_bias(weight=-1.0)",
        "xtc(probability=1.0, threshold=0.01, special=('end',))",
    ],
)
def test_the_ends_are_those_of_the_model(name, sampler):
    model = model_of(name, eos_token_id=ENDS)
    expected = of_corelm(model, PROMPTS, sampler)
    for way in ways(sampler):
        assert drawn(model, encoded(PROMPTS), **way) == expected


def test_no_text_ends_early_at_any_of_the_ends():
    model = model_of(eos_token_id=ENDS)
    for way in ways("min_length(n=6)", seed=None):
        texts = drawn(model, encoded(["the"] * 60), **way, do_sample=True, top_k=0)
        assert min(map(len, texts)) >= 6


def test_the_ends_are_known_without_a_tokenizer():
    model, inputs = model_of(eos_token_id=ENDS), TOKENIZER(["the"] * 20, return_tensors="pt")
    processor = as_logits_processor("min_length(n=6)", seed=7)
    loop = {"custom_generate": corelm_loop, "sampler": "min_length(n=6)", "seed": 7}
    for way in ({"logits_processor": [processor]}, loop):
        assert min(map(len, drawn(model, inputs, **way))) >= 6
    with pytest.raises(corelm.CorelmError, match="pass the tokenizer"):
        drawn(model, inputs, **loop | {"sampler": "ban(words=['the'])"})


# ---- the tokenizer of the loop ----


def test_the_loop_finds_words():
    model = model_of()
    sampler = "ban(words=['the', ' the'])"
    _, loop = ways(sampler)
    assert drawn(model, encoded(PROMPTS), **loop) == of_corelm(model, PROMPTS, sampler)


@pytest.mark.parametrize("sampler", ["repetition_penalty(penalty=1.5)", "dry(multiplier=2.0)"])
def test_the_start_token_is_no_text_in_the_loop(sampler):
    tokenizer = tiny_tokenizer(start=True)
    model = model_of()
    inputs = tokenizer(PROMPTS, return_tensors="pt", padding=True)
    # Greedy: a penalty on the end, which is the start token here, changes the text.
    for chain in (sampler, f"{sampler} | greedy"):
        expected = of_corelm(model, PROMPTS, chain, tokenizer)
        _, loop = ways(chain, tokenizer)
        assert drawn(model, inputs, **loop) == expected


@pytest.mark.parametrize("sampler", ["repetition_penalty(penalty=1.5)", "dry(multiplier=2.0)"])
def test_without_a_tokenizer_the_start_token_is_that_of_the_configuration(sampler):
    tokenizer = tiny_tokenizer(start=True)
    model = model_of()
    for prompt in PROMPTS:
        inputs = tokenizer([prompt], return_tensors="pt")
        for chain in (sampler, f"{sampler} | greedy"):
            expected = of_corelm(model, [prompt], chain, tokenizer)
            for way in ways(chain, tokenizer=None):
                assert drawn(model, inputs, **way) == expected


# ---- processors of transformers that come first ----


@pytest.mark.parametrize("seed", [None, 7])
def test_processors_that_come_first_are_named(seed, caplog):
    model = model_of(repetition_penalty=1.3, suppress_tokens=[5])
    processor, loop = ways("min_p(p=0.1)", seed=seed)
    for _ in range(2):
        drawn(model, encoded(PROMPTS), **processor)
    [message] = messages(caplog)
    names = "RepetitionPenaltyLogitsProcessor, SuppressTokensLogitsProcessor"
    assert message.startswith(f"transformers applies {names} before corelm: min_p(p=0.1), so")
    caplog.clear()
    expected = of_corelm(model, PROMPTS, "min_p(p=0.1)")
    texts = drawn(model, encoded(PROMPTS), **loop)
    assert seed is None or texts == expected
    [message] = messages(caplog)
    assert message == f"corelm_loop applies min_p(p=0.1) in place of {names}"


def test_a_processor_of_the_user_is_not_named(caplog):
    class Own(transformers.LogitsProcessor):
        def __call__(self, input_ids, scores):
            return scores

    processor = as_logits_processor("min_p(p=0.1)", seed=1, tokenizer=TOKENIZER)
    drawn(model_of(), encoded(PROMPTS), logits_processor=[Own(), processor])
    assert messages(caplog) == []


# ---- a second generate ----


@pytest.mark.parametrize(
    "sampler", ["stochastic", "mirostat(tau=3.0)", "presence_penalty(penalty=9, skip_prompt=True)"]
)
def test_a_generate_that_continues_an_output_is_a_new_generation(sampler):
    model = model_of()
    processor, _ = ways(sampler)
    inputs = encoded(["see the cat sit"])
    for length in (1, 2, 4):
        first = model.generate(**inputs, **processor, max_new_tokens=length)
        again = {"input_ids": first, "attention_mask": torch.ones_like(first)}
        [found] = drawn(model, again, **processor)
        [fresh] = drawn(model, again, **ways(sampler)[0])
        assert found == fresh


def test_a_wrapped_processor_is_told_of_a_new_generation():
    model = model_of(eos_token_id=ENDS)
    wrapped = {"logits_processor": [CallsAnother(as_logits_processor("min_length(n=4)", seed=1))]}
    first = model.generate(**encoded(["the"]), **wrapped, max_new_tokens=4)
    again = {"input_ids": first, "attention_mask": torch.ones_like(first)}
    [text] = drawn(model, again, **wrapped)
    assert len(text) >= 4


def test_a_loop_of_ones_own_keeps_its_variables():
    """At the top of a module, and in a function that holds on to its variables."""
    processors = transformers.LogitsProcessorList([as_logits_processor("min_p(p=0.1)", seed=1)])
    module = {"processors": processors, "torch": torch, "__name__": "__main__"}
    exec("result = processors(torch.tensor([[3]]), torch.zeros((1, 264)))", module)
    assert module["processors"] is processors
    assert module["result"].shape == (1, 264)
    generation_config = transformers.GenerationConfig(eos_token_id=[3])
    variables = locals()
    transformers.LogitsProcessorList(processors)(torch.tensor([[3]]), torch.zeros((1, 264)))
    assert variables["generation_config"] is generation_config


def test_the_outputs_of_a_prompt_are_not_kept():
    """The frame of the loop, which is read for its configuration, must not keep a copy of them."""
    earlier, alive = [], []

    class Watch(transformers.LogitsProcessor):
        def __call__(self, input_ids, scores):
            alive.append(sum(ref() is not None for ref in earlier))
            earlier.append(weakref.ref(scores))
            return scores + 0

    processors = [Watch(), as_logits_processor("stochastic", seed=1)]
    model_of().generate(**encoded(["the"]), logits_processor=processors, max_new_tokens=5)
    assert alive == [0] * len(alive)
    assert len(alive) > 1


# ---- prompts of other kinds ----


@pytest.mark.parametrize("sampler", ["stochastic", "repetition_penalty(penalty=1.5)", "mirostat"])
def test_a_prompt_of_embeddings_has_no_text(sampler):
    model = model_of(eos_token_id=262)  # so that the padding, 263, may be drawn
    inputs = encoded(["see the cat sit", "the"])
    with torch.no_grad():
        embeds = model.get_input_embeddings()(inputs["input_ids"])
    prompt = {"inputs_embeds": embeds, "attention_mask": inputs["attention_mask"]}
    processor, loop = ways(sampler)
    texts = drawn(model, prompt, **processor)
    assert [len(text) for text in texts] == [12, 12]
    assert drawn(model, prompt, **loop) == texts


def test_embeddings_continue_as_the_tokens_do():
    model, inputs = model_of(), encoded(["the"])
    with torch.no_grad():
        prompt = {"inputs_embeds": model.get_input_embeddings()(inputs["input_ids"])}
    [text] = drawn(model, prompt, **ways("min_p(p=0.05)")[0])
    assert [text] == of_corelm(model, ["the"], "min_p(p=0.05)")


TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m.content }} the {% endfor %}"


def test_a_chat_template_that_holds_the_start_token_gets_no_second_one():
    tokenizer = tiny_tokenizer(start=True, chat_template=TEMPLATE)
    chat = [{"role": "user", "content": "see the cat"}]
    prompt = tokenizer.apply_chat_template(chat, tokenize=False)
    assert prompt.startswith(tokenizer.bos_token)
    inputs = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)
    model = model_of()
    for way in ways("min_p(p=0.05)", tokenizer):
        assert drawn(model, inputs, **way) == of_corelm(model, [prompt], "min_p(p=0.05)", tokenizer)


@pytest.mark.parametrize("seed", [None, 7])
def test_an_error_of_a_sampler_reaches_the_user(seed):
    with pytest.raises(Exception, match="no third token"):
        drawn(
            model_of(), encoded(["the"]), logits_processor=[as_logits_processor(Fails(), seed=seed)]
        )


def test_the_programs_of_the_readme_write_one_text(tmp_path, monkeypatch):
    page = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    ENGINE.save_pretrained("model")
    TOKENIZER.save_pretrained("model")
    names = {}
    for program in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(program, names)
    prompt = len(names["inputs"]["input_ids"][0])
    assert names["tokens"][0, prompt:].tolist() == names["text"].tokens
