"""The example of the README runs."""

import re
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="pip install llama-cpp-python")


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
