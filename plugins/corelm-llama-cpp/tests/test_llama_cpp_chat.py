"""Chat templates of GGUF files, and the example of the README."""

import re
from pathlib import Path

import pytest

import corelm
from corelm.abilities import FullVocabulary
from corelm.errors import UsageError

pytest.importorskip("gguf", reason="pip install gguf")
pytest.importorskip("llama_cpp", reason="pip install llama-cpp-python")

import tiny_gguf

TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
MESSAGES = [{"role": "user", "content": "This movie"}]


def test_a_file_brings_its_chat_template(tmp_path):
    model = corelm.load(f"gguf:{tiny_gguf.write(tmp_path / 'chat.gguf', template=TEMPLATE)}")
    assert hasattr(model.vocabulary, "render_chat")
    text = FullVocabulary(model.vocabulary).render_chat(MESSAGES)
    assert text == "<|endoftext|>This movie<|im_end|>"
    ids = model.vocabulary.encode(text)
    names = tiny_gguf.words()
    assert [names[i] for i in (ids[0], ids[-1])] == ["<|endoftext|>", "<|im_end|>"]


def test_the_model_puts_the_start_token_before_a_rendered_text(tmp_path):
    path = tiny_gguf.write(tmp_path / "chat.gguf", template=TEMPLATE, start=True)
    vocabulary = corelm.load(f"gguf:{path}").vocabulary
    text = FullVocabulary(vocabulary).render_chat(MESSAGES)
    assert text.startswith("<|endoftext|>")
    assert vocabulary.encode(text) == vocabulary.encode(text.removeprefix("<|endoftext|>"))
    # Alone it is a word, such as one to ban.
    assert vocabulary.encode("<|endoftext|>") == [vocabulary.start]


def test_a_file_without_one_says_so(gguf_file):
    with pytest.raises(UsageError, match="this model has no chat template"):
        FullVocabulary(corelm.load(f"gguf:{gguf_file}").vocabulary).render_chat(MESSAGES)


def test_the_example_of_the_readme(gguf_file, tmp_path, monkeypatch):
    [example] = re.findall(
        r"```python\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text(), re.DOTALL
    )
    monkeypatch.chdir(tmp_path)
    Path("model.gguf").write_bytes(gguf_file.read_bytes())
    names = {}
    exec(example, names)
    assert names["text"]["usage"]["completion_tokens"] > 0
    names["llm"].close()
