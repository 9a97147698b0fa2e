"""Models of engines behind the server: transformers, with a chat template of its tokenizer."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from serve_client import sample

transformers = pytest.importorskip("transformers", reason="pip install transformers")
torch = pytest.importorskip("torch", reason="pip install torch")
pytest.importorskip("corelm_transformers", reason="pip install ./plugins/corelm-transformers")

from corelm_transformers.model import TransformersModel  # noqa: E402

from corelm.abilities import FullVocabulary  # noqa: E402
from corelm.interop.testing import tiny_tokenizer  # noqa: E402

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
MESSAGES = [{"role": "user", "content": "see the cat"}]


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_positions=96, n_embd=16, n_layer=2, n_head=2,
        initializer_range=0.4, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return TransformersModel(transformers.GPT2LMHeadModel(config).eval(), tokenizer)


@pytest.mark.slow
def test_texts_of_an_engine_do_not_depend_on_the_company(open_client, model):
    client = open_client({"tiny": model})
    prompts = ["the", "see the cat", "a cat sat on the mat"]
    wanted = [
        {"prompt": prompts[i % 3], "seed": i, "max_tokens": 8 + i, "sampler": "top_p(p=0.9)"}
        for i in range(9)
    ]
    with ThreadPoolExecutor(9) as pool:
        answers = [*pool.map(lambda body: client.complete(model="tiny", **body), wanted)]
    for body, answer in zip(wanted, answers, strict=True):
        texts = [choice["text"] for choice in answer["choices"]]
        expected = sample(
            model, body["prompt"], sampler="top_p(p=0.9)", seed=body["seed"],
            length=body["max_tokens"],
        )  # fmt: skip
        assert texts == expected


def test_an_answer_by_the_tokenizers_template(open_client, model):
    client = open_client({"tiny": model})
    body = {"model": "tiny", "messages": MESSAGES, "seed": 1, "max_tokens": 8}
    answer = client.post("/v1/chat/completions", json=body).json()
    prompt = FullVocabulary(model.vocabulary).render_chat(MESSAGES)
    assert prompt == "<|endoftext|>user: see the cat\nassistant:"
    [text] = sample(model, prompt, sampler="stochastic", seed=1, length=8)
    assert answer["choices"][0]["message"]["content"] == text


def test_log_probabilities_of_tokens_that_are_parts_of_characters(open_client, model):
    client = open_client({"tiny": model})
    answer = client.complete(
        model="tiny", prompt="the caf\u00e9", echo=True, logprobs=20, max_tokens=4, seed=1
    )
    found = answer["choices"][0]["logprobs"]
    names = {name for top in found["top_logprobs"] if top for name in top}
    assert any(name.startswith("bytes:\\x") for name in names)
    tops = [
        (token, top)
        for token, top in zip(found["tokens"], found["top_logprobs"], strict=True)
        if top
    ]
    assert all(len(top) in (20, 21) and token in top for token, top in tops)
    assert any(len(top) == 20 for _, top in tops)
