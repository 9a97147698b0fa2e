"""The prompt of a model: the one that was given, or its own, with notes on what it can't read."""

from __future__ import annotations

from collections.abc import Sequence

from corelm.cli.output import messages
from corelm.generation.prompts import default_prompt, prompt_notes
from corelm.language_model import LanguageModel


def prompt_for(model: LanguageModel, prompt: str | None) -> str:
    """Return the prompt, or the model's own if there is none; note what the model can't read."""
    if prompt is None:
        return default_prompt(model)
    note_prompts(model, [prompt])
    return prompt


def note_prompts(model: LanguageModel, prompts: Sequence[str]) -> None:
    """Note what the model can't read of prompts."""
    for note in prompt_notes(model, prompts):
        messages.tell(f"note: {note}")
