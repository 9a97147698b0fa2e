"""Read the texts of a file that is to be scored."""

from __future__ import annotations

import json
from typing import Any

from corelm.cli.options.prompt import STDIN, read_prompt
from corelm.errors import UsageError


def read_texts(file: str) -> list[tuple[str, str]]:
    """Return the texts in a file, each with its prompt.

    A .jsonl file has a text in each line: a JSON string, or an object with a "text" and perhaps a
    "prompt", as `corelm sample --output` writes it. Any other file is one text.

    Args:
        file: the file, or `-` for standard input.

    Raises:
        UsageError: a file that cannot be read, or without a text.
    """
    content = read_prompt(STDIN, None) if file == STDIN else read_prompt(None, file)
    if not content:
        raise UsageError(f"there is no text in {file}")
    if not file.endswith(".jsonl"):
        return [("", content)]
    lines = [(i, line) for i, line in enumerate(content.split("\n"), 1) if line.strip()]
    return [_text_of(line, f"line {number} of {file}") for number, line in lines]


def _text_of(line: str, source: str) -> tuple[str, str]:
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError):
        raise UsageError(f"{source} is not JSON: write each text in quotation marks") from None
    value = value if isinstance(value, dict) else {"text": value}
    prompt, text = value.get("prompt", ""), value.get("text")
    if not isinstance(prompt, str) or not isinstance(text, str):
        raise UsageError(f'{source} has no text: expected a string or {{"text": "..."}}')
    try:
        (prompt + text).encode()
    except UnicodeEncodeError:
        raise UsageError(f"{source} has half of a surrogate pair, which is not text") from None
    return prompt, text
