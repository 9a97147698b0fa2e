"""The settings of Ollama: a Modelfile, or the options of a request in JSON.

Source: Ollama in 2026, api/types.go, parser/parser.go and llm/llama_server.go. It passes its
options to llama.cpp's server, which applies them in its own order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from corelm.errors import SettingsError
from corelm_presets.engine_settings import llama_cpp
from corelm_presets.engine_settings.engine import Engine
from corelm_presets.engine_settings.llama_cpp_flags import number
from corelm_presets.engine_settings.setting import Values, plain

OPTIONS = "options"
COMMANDS = (
    "FROM", "PARAMETER", "TEMPLATE", "SYSTEM", "ADAPTER", "DRAFT", "RENDERER", "PARSER", "LICENSE",
    "MESSAGE", "REQUIRES",
)  # fmt: skip

_IGNORED = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*[ \t]*")
_COMMAND = re.compile(rf"({'|'.join(COMMANDS)})[ \t]+", re.IGNORECASE)
_NAME = re.compile(r"(\w+)[ \t]+")
_VALUE = re.compile(r'"""(?P<long>.*?)"""|"(?P<short>[^"]*)"|(?P<bare>[^"\n][^\n]*)', re.DOTALL)
_ITEMS = ("stop",)
"""Parameters that may be given several times."""


@dataclass(frozen=True, eq=False)
class Ollama(Engine):
    """Ollama, whose options are a part of a request, or lines of a Modelfile."""

    def from_words(self, values: Values) -> Values:
        options = values.get(OPTIONS)
        if not isinstance(options, Mapping):
            return values
        rest = {key: value for key, value in values.items() if key != OPTIONS}
        for key in sorted(rest.keys() & options.keys()):
            raise SettingsError(f"{key} is in the options and outside of them; leave one out")
        return {**rest, **options}

    def to_words(self, values: Values) -> Values:
        return {OPTIONS: dict(values)}

    def text(self, values: Values) -> str:
        return "".join(f"PARAMETER {key} {value}\n" for key, value in values[OPTIONS].items())


def is_request(values: Values) -> bool:
    """Return True for a request or options with a key that other engines lack."""
    return isinstance(values.get(OPTIONS), Mapping) or any(
        key in values for key in ("num_ctx", "num_predict", "num_keep", "num_gpu", "num_thread")
    )


def is_modelfile(text: str) -> bool:
    """Return True for a text that begins with a command of a Modelfile.

    Example:
        >>> is_modelfile("# mine\\nFROM llama3\\n"), is_modelfile("temperature: 1")
        (True, False)
    """
    start = _IGNORED.match(text)
    return start is not None and _COMMAND.match(text, start.end()) is not None


def parsed(text: str) -> dict[str, Any]:
    """Return the parameters of a Modelfile, and its other commands in lower case.

    Example:
        >>> parsed('FROM llama3\\nPARAMETER temperature 0.7\\nPARAMETER stop "User:"\\n')
        {'from': 'llama3', 'temperature': 0.7, 'stop': ['User:']}
    """
    values: dict[str, Any] = {}
    for name, value in _commands(text):
        if name in _ITEMS:
            values.setdefault(name, []).append(value)
        else:  # the last one of a name counts
            values[name] = {"true": True, "false": False}.get(value.lower(), number(value))
    return values


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """Yield the name of each parameter or command in a Modelfile, and its value."""
    place = 0
    while (place := _end(_IGNORED.match(text, place), place)) < len(text):
        command = _COMMAND.match(text, place)
        name = command and command[1].lower()
        place = _end(command, place)
        if name == "parameter":
            command = _NAME.match(text, place)
            name, place = command and command[1], _end(command, place)
        value = _VALUE.match(text, place) if name else None
        if name is None or value is None:
            line = text.count("\n", 0, place) + 1
            raise SettingsError(f"it is no Modelfile: line {line} is not a command with a value")
        yield name, next(part for part in value.groups() if part is not None).strip()
        place = value.end()


def _end(match: re.Match[str] | None, place: int) -> int:
    return place if match is None else match.end()


ENGINE: Ollama = Ollama(
    "ollama",
    (
        llama_cpp.SAMPLERS["repetition_penalty"],
        llama_cpp.SAMPLERS["frequency_penalty"],
        llama_cpp.SAMPLERS["presence_penalty"],
        llama_cpp.SAMPLERS["top_k"],
        llama_cpp.SAMPLERS["typical"],
        replace(llama_cpp.SAMPLERS["top_p"], keys={"top_p": 0.9}),
        plain("min_p", "p", "min_p", 0.0),
        plain("temperature", "t", "temperature", 1.0, default=0.8, read=lambda t: max(t, 0)),
    ),
    unsupported={"format": ""},
    other=(
        "from template system adapter draft renderer parser license message requires "
        "model prompt messages stream raw keep_alive images suffix think tools context logprobs "
        "top_logprobs seed num_predict stop num_keep num_ctx num_batch num_gpu main_gpu use_mmap "
        "num_thread draft_num_predict numa "
        # Ollama ignores these, with a note that they are deprecated.
        "penalize_newline low_vram f16_kv logits_all vocab_only use_mlock"
    ),
    ignored="mirostat mirostat_tau mirostat_eta tfs_z",
)
