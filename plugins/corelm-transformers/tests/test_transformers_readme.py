"""The examples of the README and of the docstrings."""

import re
from pathlib import Path

import pytest
from tiny_transformers import ENGINE, TOKENIZER

README = Path(__file__).parents[1] / "README.md"


def test_the_programs_of_the_readme_write_one_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ENGINE.save_pretrained("model")
    TOKENIZER.save_pretrained("model")
    names = {}
    for program in re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL):
        exec(program, names)
    prompt = len(names["inputs"]["input_ids"][0])
    assert names["tokens"][0, prompt:].tolist() == names["text"].tokens


def test_the_names_are_public():
    import corelm_transformers

    for name in corelm_transformers.__all__:
        assert getattr(corelm_transformers, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'as_warper'"):
        corelm_transformers.as_warper  # noqa: B018
