"""Texts in JSON lines, with a second value each."""

from __future__ import annotations

import pytest

from corelm.errors import UsageError
from corelm.runs import text_lines


def test_texts_with_and_without_a_second_value():
    content = '"a"\n\n{"prompt": "b\\u2028c", "cluster": 3}\n{"prompt": "d"}\n'
    found = text_lines(content, "p.jsonl", "prompt", "cluster")
    assert found == [("a", None), ("b\u2028c", 3), ("d", None)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n \n", "there is no prompt in p.jsonl"),
        ('"a"\nb\n', "line 2 of p.jsonl is not JSON: write each prompt in quotation marks"),
        ("[" * 100_000, "line 1 of p.jsonl is not JSON"),
        ('{"text": "a"}', "line 1 of p.jsonl has no prompt: expected a string or"),
        ('{"prompt": "a", "cluster": true}', "line 1 of p.jsonl has no prompt"),
        ('{"prompt": "a", "cluster": ["b"]}', "line 1 of p.jsonl has no prompt"),
        ('"\\ud800"', "half of a surrogate pair"),
        ('{"prompt": "a", "cluster": "\\ud800"}', "half of a surrogate pair"),
    ],
)
def test_other_lines_are_refused(content, message):
    with pytest.raises(UsageError, match=message):
        text_lines(content, "p.jsonl", "prompt", "cluster")
