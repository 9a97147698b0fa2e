"""Read a file of settings: JSON, YAML, a Modelfile, or the flags of a command line."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corelm.errors import SettingsError, UsageError
from corelm.runs import SafeFile, json_object, printable
from corelm_presets.engine_settings import llama_cpp_flags, ollama

LARGEST_FILE = 2**20
"""The largest file, in bytes."""
FILE = "generation_config.json"
"""The file that is read in the folder of a model."""

_YAML = re.compile(r"^[A-Za-z_][\w.\-]*\s*:(\s|$)", re.MULTILINE)


def content_of(path: str | os.PathLike[str]) -> bytes:
    """Return the content of a file, or of the generation_config.json in a folder.

    Reading stops one byte after the limit, which is enough to reject a larger file.

    Raises:
        OSError: a file that cannot be opened.
    """
    with SafeFile(file_at(path)).open() as opened:
        return opened.read(LARGEST_FILE + 1)


def file_at(path: str | os.PathLike[str]) -> Path:
    """Return the file to read: the path, or the generation_config.json in a folder."""
    return Path(path) / FILE if os.path.isdir(path) else Path(path)


def parsed(content: bytes) -> tuple[dict[str, Any], str]:
    """Return the values in the content of a file, and its syntax: json, yaml, modelfile or flags.

    Raises:
        SettingsError: more than a megabyte, another encoding than UTF-8, or no settings.

    Example:
        >>> parsed(b'{"top_p": 0.9}')
        ({'top_p': 0.9}, 'json')
        >>> parsed(b"--top-p 0.9")
        ({'--top-p': 0.9}, 'flags')
    """
    if len(content) > LARGEST_FILE:
        raise SettingsError(f"it has more than {LARGEST_FILE} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SettingsError("it is not text in UTF-8") from None
    # Test the first character, as JSON is valid YAML too.
    if text.lstrip()[:1] in ("{", "["):
        try:
            return json_object(text, "it"), "json"
        except UsageError as error:
            raise SettingsError(str(error)) from None
    if ollama.is_modelfile(text):  # its templates may have lines that look like YAML
        return ollama.parsed(text), "modelfile"
    if _YAML.search(text):
        return _yaml(text), "yaml"
    flags = llama_cpp_flags.parsed(text)
    if not flags:
        raise SettingsError("expected JSON, `key: value` lines or llama.cpp flags")
    return flags, "flags"


def _yaml(text: str) -> dict[str, Any]:
    import yaml  # takes 10 ms, which most files of settings do not need

    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            # A few lines of aliases can expand to more values than fit into memory.
            raise SettingsError("it has an alias (*name); write its value out")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
        # Python refuses to convert an overlong whole number to text, even one in hexadecimal.
        str(values)
    except yaml.YAMLError as error:
        raise SettingsError(f"it is not YAML: {_reason(error)}") from None
    except RecursionError:
        raise SettingsError("it is not YAML: too deep") from None
    # A tag such as !!int or !!bool converts its text unchecked.
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise SettingsError(f"it is not YAML: {_fault(error)}") from None
    if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
        raise SettingsError("it is YAML, but not lines `key: value`")
    keys = [key.value for key, _ in node.value]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:  # YAML's own rule; the library takes the last one
        raise SettingsError(f"the key {printable.shown(twice)} is given twice")
    return dict(values)


def _fault(error: Exception) -> str:
    """Return the message of an error, without Python's advice to programmers on long numbers."""
    message = printable.one_line(str(error))
    return "a number is too long" if "set_int_max_str_digits" in message else message


def _reason(error: Any) -> str:
    """Return a YAML error in one line, with its place in the file."""
    mark = getattr(error, "problem_mark", None)
    where = "" if mark is None else f"line {mark.line + 1}: "
    return where + printable.one_line(getattr(error, "problem", None) or str(error))
