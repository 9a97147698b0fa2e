"""The settings of llama.cpp on a command line: `--temp 0.7 --top-k 40`.

Source: llama.cpp in 2026, common/arg.cpp. The samplers are the server's, under other names.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from corelm.errors import SettingsError
from corelm.runs import printable
from corelm_presets.engine_settings import llama_cpp
from corelm_presets.engine_settings.setting import Values

_SAME_NAME = (
    "top_k top_p min_p xtc_probability xtc_threshold repeat_last_n repeat_penalty "
    "presence_penalty frequency_penalty dry_multiplier dry_base dry_allowed_length "
    "dry_penalty_last_n dynatemp_range mirostat adaptive_target adaptive_decay logit_bias samplers "
    "seed n_predict ignore_eos grammar json_schema model prompt"
)
FLAGS = {
    **{f"--{key.replace('_', '-')}": key for key in _SAME_NAME.split()},
    "--temp": "temperature",
    "--top-nsigma": "top_n_sigma",
    "--typical": "typical_p",
    "--dry-sequence-breaker": "dry_sequence_breakers",
    "--dynatemp-exp": "dynatemp_exponent",
    "--mirostat-lr": "mirostat_eta",
    "--mirostat-ent": "mirostat_tau",
    "--reverse-prompt": "stop",
    "--ctx-size": "n_ctx",
    "--keep": "n_keep",
    "--reasoning-budget": "reasoning_budget_tokens",
    "--reasoning-budget-message": "reasoning_budget_message",
}
"""The key of the server for each flag."""
SPELLINGS = {
    "--temperature": "--temp",
    "--top-n-sigma": "--top-nsigma",
    "--typical-p": "--typical",
    "--sampler-seq": "--samplers",
    "--sampling-seq": "--samplers",
    "--predict": "--n-predict",
    "-n": "--n-predict",
    "-s": "--seed",
    "-l": "--logit-bias",
    "-r": "--reverse-prompt",
    "-j": "--json-schema",
    "-m": "--model",
    "-c": "--ctx-size",
    "-p": "--prompt",
}
_OF_THE_MACHINE = (
    "-ngl --gpu-layers --n-gpu-layers -sm --split-mode -ts --tensor-split -mg --main-gpu -dev "
    "--device -t --threads -tb --threads-batch -b --batch-size -ub --ubatch-size -fa --flash-attn "
    "-ctk --cache-type-k -ctv --cache-type-v --mlock --mmap --no-mmap --numa -np --parallel -cb "
    "--cont-batching -ncmoe --n-cpu-moe -cmoe --cpu-moe --no-warmup --no-kv-offload -nkvo --host "
    "--port --api-key -a --alias -hf --hf-repo -hff --hf-file -mu --model-url --log-file -v "
    "--verbose -lv --verbosity --no-perf -co --color -cnv --conversation -no-cnv "
    "--no-conversation -i --interactive -sys --system-prompt -f --file --no-display-prompt "
    "--jinja --no-jinja --chat-template --chat-template-file -C --cpu-mask --prio --poll -ot "
    "--override-tensor -fit --fit --no-host -lm --load-mode --offline -hft --hf-token --swa-full "
    "-cram --cache-ram -ctxcp --ctx-checkpoints -kvu --kv-unified --cache-reuse --metrics --props "
    "--slots --no-slots --api-key-file --ssl-key-file --ssl-cert-file -to --timeout --threads-http "
    "-md --model-draft -ngld --gpu-layers-draft --draft-max --draft-min --spec-type "
    "--display-prompt -kvo --kv-offload --warmup -nocb --no-cont-batching --log-verbosity"
)
"""Flags of llama.cpp that leave its samplers as they are."""
REPEATED = ("--dry-sequence-breaker", "--logit-bias", "--reverse-prompt")
"""Flags that may be given several times."""
NONE = "none"
"""The value of --dry-sequence-breaker for no breaker."""

_BIAS = re.compile(r"(\d+)([+-].+)")


@dataclass(frozen=True, eq=False)
class LlamaCppFlags(llama_cpp.LlamaCpp):
    """llama.cpp on a command line, whose keys are flags."""

    def from_words(self, values: Values) -> Values:
        return {key: value for flag, word in values.items() for key, value in _key(flag, word)}

    def to_words(self, values: Values) -> Values:
        names = {key: flag for flag, key in FLAGS.items()}
        return {names[key]: _flag_value(key, value) for key, value in values.items()}

    def text(self, values: Values) -> str:
        words = []
        for flag, value in values.items():
            for item in value if isinstance(value, list) else [value]:
                words.append(f"{flag} {shlex.quote(str(item))}")
        return " ".join(words) + "\n"


def parsed(text: str) -> dict[str, Any]:
    """Return the flags of a command line, with or without the program in front.

    Example:
        >>> parsed("llama-cli --temp 0.7 -l 5-1 -l 6+2 --mlock # as yesterday")
        {'--temp': 0.7, '--logit-bias': ['5-1', '6+2'], '--mlock': True}
    """
    try:
        words = shlex.split(text.replace("\\\n", " "), comments=True)
    except ValueError as error:
        raise SettingsError(f"the flags cannot be read: {error}") from None
    flags: dict[str, Any] = {}
    flag = ""
    for word in words:
        if _is_flag(word):
            flag = SPELLINGS.get(word, word)
            flags.setdefault(flag, [] if flag in REPEATED else True)
        elif flag in REPEATED:
            flags[flag].append(word)
        elif flag and flags[flag] is True:  # a flag that still waits for its value
            flags[flag] = number(word)
        elif flag in FLAGS:
            raise SettingsError(
                f"the flag {flag} has several values: {printable.shown(word)} after another"
            )
    return flags


def _is_flag(word: str) -> bool:
    # -1 is a value, as in `--repeat-last-n -1`.
    return word.startswith("-") and not isinstance(number(word), (int, float))


def number(word: str) -> Any:
    """Convert a word to a number if it is one; otherwise return the word."""
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def _key(flag: str, value: Any) -> Iterator[tuple[str, Any]]:
    flag = SPELLINGS.get(flag, flag)
    if flag in REPEATED and value is not None:
        value = value if isinstance(value, list) else [value]
    if flag == "--samplers" and isinstance(value, str):
        names = [name for name in value.split(";") if name]
        # A list of letters such as `kpt` looks like a name, but a name has other letters too.
        is_letters = len(names) == 1 and set(names[0]) <= set(llama_cpp.LETTERS)
        value = names[0] if is_letters else names
    elif flag == "--dry-sequence-breaker" and value:
        value = [] if value == [NONE] else [_unescaped(item) for item in value]
    elif flag == "--logit-bias" and value:
        value = [_bias(item) for item in value]
    yield FLAGS.get(flag, flag), value


def _bias(item: Any) -> tuple[int, float]:
    match = _BIAS.fullmatch(item) if isinstance(item, str) else None
    try:
        return int(match[1]), float(match[2])  # type: ignore[index]
    except (TypeError, ValueError):
        raise SettingsError(
            f"--logit-bias must be an id and a number such as 15043-1, not {printable.shown(item)}"
        ) from None


def _flag_value(key: str, value: Any) -> Any:
    if key == "samplers":
        return ";".join(value)
    if key == "dry_sequence_breakers":
        return [_escaped(item) for item in value] or [NONE]
    if key == "logit_bias":
        return [f"{i}-inf" if bias is False else f"{i}{bias:+}" for i, bias in value]
    if key == "reasoning_budget_message" and _escaped(value) != value:
        raise SettingsError("a reasoning budget's message cannot hold control characters here")
    return value


def _escaped(text: str) -> str:
    """Escape a text for llama.cpp, for example a line break as backslash n.

    Raises:
        SettingsError: a control character beyond ASCII, which has no escape there.
    """
    escaped = "".join(c.encode("unicode_escape").decode() if c.isascii() else c for c in text)
    if printable.strip_controls(escaped) != escaped:
        raise SettingsError(f"a flag cannot hold the control characters in {printable.shown(text)}")
    return escaped


def _unescaped(text: Any) -> Any:
    """Replace the escapes in a text, such as backslash n."""
    if not isinstance(text, str):
        return text
    pairs = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "'": "'", "\\": "\\"}
    return re.sub(
        r"\\(?:x([0-9a-fA-F]{2})|(.))",
        lambda m: chr(int(m[1], 16)) if m[1] else pairs.get(m[2], m[0]),
        text,
    )


_SERVER = llama_cpp.ENGINE
_CHANGES = {
    "name": "llama.cpp-cli",
    "settings": tuple(
        llama_cpp.DRY_OF_FLAGS if setting.sampler == "dry" else setting
        for setting in _SERVER.settings
    ),
    "other": f"{_SERVER.other} model n_ctx {_OF_THE_MACHINE}",
    "spellings": {},
}
ENGINE: LlamaCppFlags = LlamaCppFlags(**{**vars(_SERVER), **_CHANGES})
