"""Files of settings: JSON, YAML and flags; hostile ones are refused in one line."""

from __future__ import annotations

import json

import pytest
from corelm_presets.engine_settings import files

from corelm import from_settings
from corelm.errors import SettingsError

YAML = """\
# a preset
min_p: 0.02  # low
top_k: 40
do_sample: false
name: plain text, with a comma
none:
quoted: 'it''s'
escaped: "a\\nb \\"c\\""
inline: ["x", 1]
exponent: 1.0e-3
items:
- a
- 'b: c'
sampler_priority: 'top_k

  top_p

  min_p'
folded: "one
  two"
"""


def test_yaml_values(tmp_path):
    file = tmp_path / "preset.yaml"
    file.write_text(YAML)
    values, syntax = files.parsed(file.read_bytes())
    assert syntax == "yaml"
    assert values["min_p"] == 0.02
    assert values["sampler_priority"] == "top_k\ntop_p\nmin_p"


@pytest.mark.parametrize(
    ("name", "content", "engine", "expression"),
    [
        ("generation_config.json", '{"do_sample": true, "top_k": 9}', "transformers",
         "top_k(k=9)"),
        ("bom.json", '\ufeff{"temp": 0.5}', "sillytavern", "temperature(t=0.5)"),
        ("Creative.yaml", "min_p: 0.02\nxtc_probability: 0.5\n", "text-generation-webui",
         "min_p(p=0.02) | xtc(probability=0.5, threshold=0.1, special=('newline', 'end'))"),
        ("run.sh", "./llama-cli -m 'a b.gguf' --temp 0 \\\n  -s -1 # greedy\n", "llama.cpp-cli",
         "greedy"),
        ("flags", "--samplers 'top_k;temp' --top-k 5 --temperature 0.5", "llama.cpp-cli",
         "top_k(k=5) | temperature(t=0.5)"),
    ],
)  # fmt: skip
def test_a_file_is_read_by_its_content(tmp_path, name, content, engine, expression):
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    settings = from_settings(file)
    assert (settings.engine, str(settings.sampler)) == (engine, expression)


def test_flags_that_leave_the_samplers_alone_are_known(tmp_path):
    file = tmp_path / "run.sh"
    file.write_text("llama-cli -m a.gguf -ngl 99 -md b.gguf --mlock -t 8 --no-mmap --temp 0.5\n")
    settings = from_settings(file)
    assert (settings.unknown, settings.other["-ngl"], settings.other["--mlock"]) == ((), 99, True)


def test_the_folder_of_a_model(tmp_path):
    (tmp_path / files.FILE).write_text('{"do_sample": true, "top_k": 9}')
    assert str(from_settings(tmp_path).sampler) == "top_k(k=9)"


def test_a_generation_config_is_transformers_whatever_its_keys(tmp_path):
    file = tmp_path / files.FILE
    file.write_text('{"temperature": 0.6, "top_p": 0.9}')  # keys of six engines
    for source in (tmp_path, file, str(file)):
        assert from_settings(source).engine == "transformers"
    assert from_settings(tmp_path, "vllm").engine == "vllm"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": ', "it is not JSON: "),
        (b"[1]", "it must be a JSON object, not [1]"),
        (b"[" * 200_000, "it is not JSON: too deep"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "it is not JSON: a number is too long"),
        (b"\xff\xfe{", "it is not text in UTF-8"),
        (b" " * (files.LARGEST_FILE + 1), "it has more than 1048576 bytes"),
        (b"", "expected JSON, `key: value` lines or llama.cpp flags"),
        (b"just words", "expected JSON, `key: value` lines or llama.cpp flags"),
        (b"--temp 'open", "the flags cannot be read: No closing quotation"),
        (b"--temp 1 2", "the flag --temp has several values: '2' after another"),
        (b"a: 1\na: 2", "the key 'a' is given twice"),
        (b"a: !!python/object:os.system x", "it is not YAML: line 1: could not determine a "),
        (b"a: &x [1]\nb: [*x, *x]", "it has an alias (*name); write its value out"),
        (b"a: 'open", "it is not YAML: line 1: found unexpected end of stream"),
        (b"a: [1, ", "it is not YAML: line 1: "),
        (b"a: " + b"[" * 500 + b"]" * 500, "it is not YAML: too deep"),
        (b"a: 1" + b"0" * 5000, "it is not YAML: a number is too long"),
        (b"a: 0x" + b"f" * 4000, "it is not YAML: a number is too long"),
        (b"a: 1" + b":5" * 3000, "it is not YAML: a number is too long"),
        (b"a: !!int ''", "it is not YAML: string index out of range"),
        (b"a: !!bool x", "it is not YAML: 'x'"),
        (b"a: 1\n2: 3", "it is YAML, but not lines `key: value`"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_line(tmp_path, content, reason):
    file = tmp_path / "settings"
    file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        from_settings(file)
    assert str(caught.value).startswith(f"cannot read the settings in {file}: {reason}")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_deep_values_are_not_shown():
    deep = json.loads('{"x": ' * 500 + "1" + "}" * 500)
    assert from_settings({"temp": 1, "y": deep}).unknown == ("y",)
