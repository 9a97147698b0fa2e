"""Read YAML of one level: the presets of text-generation-webui, without a YAML library.

A line is a key and a scalar; a list has one item a line, or stands in brackets; a quoted text may
go over several lines. Anything deeper is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from corelm.errors import SettingsError
from corelm.printable import shown

_PAIR = re.compile(r"([A-Za-z_][\w.\-]*)\s*:(?:\s+(.*))?")
_COMMENT = re.compile(r"\s+#.*$|^#.*$")
_NUMBER = re.compile(r"[-+]?(\d[\d_]*)?\.?\d+\.?(e[-+]?\d+)?", re.IGNORECASE)
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_ENDS = {"'": re.compile(r"'((?:[^']|'')*)'"), '"': re.compile(r'"((?:[^"\\]|\\.)*)"')}


def parsed(text: str) -> dict[str, Any]:
    """Return the keys and values of a flat YAML text.

    Raises:
        SettingsError: a line of another form, or a key that is given twice.

    Example:
        >>> parsed("min_p: 0.02 # low\\ndo_sample: true\\nstop:\\n- a\\n- 'b'")
        {'min_p': 0.02, 'do_sample': True, 'stop': ['a', 'b']}
    """
    found: dict[str, Any] = {}
    for key, value, items in _entries(text.splitlines()):
        if key in found:
            raise SettingsError(f"the key {key} is given twice")
        found[key] = [_scalar(item) for item in items] if items else _scalar(value)
    return found


def _entries(lines: list[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield each key with its value, or with the items of its list."""
    rest = iter(enumerate([*lines, ""], 1))
    key, value, items = "", "", []
    for number, line in rest:
        bare = line.strip()
        if not bare or bare.startswith("#") or bare in ("---", "..."):
            continue
        if key and not value and bare.startswith("- "):
            items.append(bare[2:].strip())
            continue
        match = _PAIR.fullmatch(line.rstrip())
        if not match:
            raise SettingsError(
                f"line {number} is {shown(bare)}: corelm reads YAML of one level, "
                "`key: value`; convert other files to JSON"
            )
        if key:
            yield key, value, items
        key, value, items = match[1], (match[2] or "").strip(), []
        while value[:1] in _ENDS and not _ENDS[value[0]].match(value):
            try:
                value = f"{value}\n{next(rest)[1].strip()}"
            except StopIteration:
                raise SettingsError(f"the text of {key} has no closing {value[0]}") from None
    if key:
        yield key, value, items


def _scalar(text: str) -> Any:
    if text[:1] in _ENDS:
        return _quoted(text)
    text = _COMMENT.sub("", text).strip()
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _NUMBER.fullmatch(text):
        return float(text) if re.search("[.e]", text, re.IGNORECASE) else int(text)
    if text[:1] in "[{":
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise SettingsError(f"cannot read {shown(text)}; write it as JSON does") from None
    if text[:1] in "&*!|>%@`":
        raise SettingsError(f"cannot read {shown(text)}: quote it, or convert the file to JSON")
    return text


def _quoted(text: str) -> str:
    quote = text[0]
    match = _ENDS[quote].match(text)
    if not match or _COMMENT.sub("", text[match.end() :]).strip():
        raise SettingsError(f"cannot read the text {shown(text)}")
    # A line break is a space, and an empty line a line break.
    folded = re.sub(r"\n+", lambda m: "\n" * (len(m[0]) - 1) or " ", match[1])
    if quote == "'":
        return folded.replace("''", "'")
    try:
        return str(json.loads(f'"{folded.replace(chr(10), chr(92) + "n")}"', strict=False))
    except ValueError:
        raise SettingsError(f"cannot read the text {shown(text)}") from None
