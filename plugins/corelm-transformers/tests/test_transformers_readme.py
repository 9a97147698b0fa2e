"""The examples of the README and of the docstrings."""

import re
from pathlib import Path

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
