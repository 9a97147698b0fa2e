"""Settings: parts of a preset, the command that states them, and the number format."""

from pathlib import Path

import pytest
from corelm_train import PRESETS, TrainingSettings, settings
from corelm_train.settings import choose_precision

from corelm.errors import UsageError


def test_the_preset_decides_the_other_settings():
    preset = PRESETS["book"]
    assert TrainingSettings("imdb", Path("out"), preset="book").resolve() == (
        preset.architecture,
        preset.recipe,
    )


def test_explicit_settings_override_the_preset():
    chosen = TrainingSettings("imdb", Path("out"), context_length=12, batch=3, tokens="symbols")
    architecture, recipe = chosen.resolve()
    assert (architecture.context_length, recipe.batch, recipe.tokens) == (12, 3, "symbols")
    assert architecture.vocabulary_size == 15_000


def test_a_vocabulary_needs_room():
    with pytest.raises(UsageError, match="vocabulary_size must be at least 3, not 2"):
        TrainingSettings("imdb", Path("out"), vocabulary_size=2).resolve()


def test_the_command_says_what_decides_the_result():
    chosen = TrainingSettings("/here/aclImdb", Path("out"), epochs=2, prompt="A film", length=9)
    assert chosen.command("imdb") == "corelm train --data imdb --preset default --epochs 2 --seed 0"


def test_the_command_says_what_differs_from_the_preset():
    chosen = TrainingSettings("x", Path("out"), "book", tokens="words", vocabulary_size=99)
    assert chosen.command("my notes.txt") == (
        "corelm train --data 'my notes.txt' --preset book --epochs 1 --seed 0 "
        "--tokens words --vocabulary-size 99"
    )


# The number format: by the processor, not by a stopwatch


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        ("fpu avx2 avx512f", "float32"),
        ("fpu avx512_bf16", "mixed_bfloat16"),
        ("fpu amx_bf16 amx_tile", "mixed_bfloat16"),
        ("asimd bf16 i8mm", "mixed_bfloat16"),
        ("", "float32"),
    ],
)
def test_auto_is_what_the_processor_has_instructions_for(monkeypatch, flags, chosen):
    monkeypatch.setattr(settings, "processor_flags", lambda: frozenset(flags.split()))
    assert [choose_precision("auto") for _ in range(3)] == [chosen] * 3
    assert choose_precision("float32") == "float32"


def test_a_resumed_run_keeps_its_first_choice(monkeypatch):
    monkeypatch.setattr(settings, "processor_flags", frozenset)
    assert choose_precision("auto", saved="mixed_bfloat16") == "mixed_bfloat16"
    assert choose_precision("float32", saved="mixed_bfloat16") == "float32"
    assert choose_precision("auto", saved="nonsense") == "float32"


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("model name\t: A 100\nflags\t\t: fpu avx2\n\nflags\t\t: fpu\n", {"fpu", "avx2"}),
        ("processor\t: 0\nFeatures\t: fp asimd\n", {"fp", "asimd"}),
        (None, set()),
    ],
)
def test_flags_are_the_first_cores_where_linux_lists_them(cpuinfo, text, flags):
    cpuinfo(text)
    assert settings.processor_flags() == flags
