"""Settings that replace parts of a preset, and the command that states them."""

from pathlib import Path

import pytest
from corelm_train import PRESETS, TrainingSettings

from corelm.errors import UsageError


def test_the_preset_decides_the_other_settings():
    preset = PRESETS["book"]
    assert TrainingSettings("imdb", Path("out"), preset="book").resolve() == (
        preset.architecture,
        preset.recipe,
    )


def test_explicit_settings_override_the_preset():
    settings = TrainingSettings("imdb", Path("out"), context_length=12, batch=3, tokens="symbols")
    architecture, recipe = settings.resolve()
    assert (architecture.context_length, recipe.batch, recipe.tokens) == (12, 3, "symbols")
    assert architecture.vocabulary_size == 15_000


def test_a_vocabulary_needs_room():
    with pytest.raises(UsageError, match="vocabulary_size must be at least 3, not 2"):
        TrainingSettings("imdb", Path("out"), vocabulary_size=2).resolve()


def test_the_command_says_what_decides_the_result():
    settings = TrainingSettings("/here/aclImdb", Path("out"), epochs=2, prompt="A film", length=9)
    assert (
        settings.command("imdb") == "corelm train --data imdb --preset default --epochs 2 --seed 0"
    )


def test_the_command_says_what_differs_from_the_preset():
    settings = TrainingSettings("x", Path("out"), "book", tokens="words", vocabulary_size=99)
    assert settings.command("my notes.txt") == (
        "corelm train --data 'my notes.txt' --preset book --epochs 1 --seed 0 "
        "--tokens words --vocabulary-size 99"
    )
