"""The settings of a training run, and the presets that they start from.

They need no Keras, so the command line can check them at once.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from corelm import param
from corelm.bundles import Architecture, Bundle
from corelm.errors import UsageError
from corelm.runs import params

STEPS_PER_EPOCH = 16
"""The least number of steps in an epoch, reached by smaller batches if there are enough rows."""


@dataclass(frozen=True)
class Recipe:
    """The recipe of a training run.

    Attributes:
        optimizer: `rmsprop` (the chapter's) or `muon`.
        learning_rate: constant for rmsprop, the peak of a warm-up and cosine for muon.
        batch: rows per step.
        tokens: the style of tokens, a key of `Bundle.TOKENS`.
        packed: True to train on every token of every text in full rows, False for one text a
            row, cut or padded.
    """

    optimizer: str
    learning_rate: float
    batch: int
    tokens: str
    packed: bool

    def for_rows(self, rows: int) -> Recipe:
        """Return the recipe, with a smaller batch if an epoch would have too few steps.

        Example:
            >>> recipe = Recipe("muon", 0.007, 64, "words", packed=True)
            >>> recipe.for_rows(100).batch, recipe.for_rows(100_000).batch
            (6, 64)
        """
        return replace(self, batch=max(1, min(self.batch, rows // STEPS_PER_EPOCH)))


@dataclass(frozen=True)
class Preset:
    """A network and its recipe."""

    architecture: Architecture
    recipe: Recipe
    help: str


PRESETS = {
    "book": Preset(
        Architecture("book"),
        Recipe("rmsprop", 0.001, 256, "words", packed=False),
        "the chapter's network and recipe, 9.8 million weights",
    ),
    "default": Preset(
        Architecture("default", dense=1024, heads=4, blocks=3),
        Recipe("muon", 0.007, 64, "words+punctuation", packed=True),
        "pre-norm blocks, tied embeddings, Muon: better and faster",
    ),
    "small": Preset(
        Architecture("default", width=64, dense=256, blocks=2),
        Recipe("muon", 0.007, 64, "words+punctuation", packed=True),
        "`default` with a quarter of its width, for little text",
    ),
    "gpt2": Preset(
        Architecture("gpt2", 4096, 256, width=128, dense=512, heads=4, blocks=4),
        Recipe("muon", 0.007, 32, "byte-pairs", packed=True),
        "GPT-2's architecture and tokens, small; it can be exported to other engines",
    ),
    "rnn": Preset(
        Architecture("rnn", dense=512, heads=1),
        Recipe("rmsprop", 0.001, 64, "words", packed=False),
        "a recurrent network (GRU)",
    ),
}

LITTLE_TEXT_BYTES = 300_000
"""For less text than this, in bytes, `small` is about as good as `default` and learns several times
faster."""


def preset_for(size: int) -> str:
    """Return the name of the preset for this many bytes of text."""
    return "small" if size < LITTLE_TEXT_BYTES else "default"


PRECISIONS = ("float32", "mixed_bfloat16")
BFLOAT16_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "bf16"})
"""The processor's flags for bfloat16 products, on x86 (the first two) and on ARM (the last)."""

DATA = "data"
"""The only way to distribute training: each device computes an equal share of every batch."""

SIZES = ("epochs", "patience", "vocabulary_size", "context_length", "batch")
LARGEST_SIZE = 2**24
"""The largest value of a size."""
LARGEST_SEED = 2**32 - 1  # Keras seeds NumPy's legacy generator, which takes 32 bits

OF_THE_MODEL = ("tokens", "vocabulary_size", "context_length")
"""Settings that a model to start from determines."""

LISTED_APART = {
    *("data", "preset", "epochs", "seed"),  # always listed first
    # The weights don't depend on these.
    *("out", "prompt", "temperatures", "length", "checkpoint_steps"),
    "start_from",
}
"""Settings that `TrainingSettings.command` leaves out of its list of differences."""


def _each(entries: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {help}" for name, help in entries.items())


PRESET_HELP = (
    f"the network and its training recipe; the default is `default`, or `small` for less than "
    f"{LITTLE_TEXT_BYTES // 1000} kB of text. "
    f"{_each({name: preset.help for name, preset in PRESETS.items()})}"
)


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a training run. Those with a rule are options of `corelm train`.

    None leaves the choice to the preset, whose batch shrinks if there is little text.

    Attributes:
        data: `imdb`, or a folder or file of texts.
        out: the folder to write the model to.
        start_from: the folder of a model to train further; its network, vocabulary and weights
            are the first ones of the run.
    """

    data: str
    out: Path
    start_from: Path | None = field(default=None, kw_only=True)
    # fmt: off
    preset: str = param("default", PRESET_HELP, choices=tuple(PRESETS))
    epochs: int = param(1, "the number of passes over the data", ge=1)
    patience: int = param(5, "stop after this many epochs without a better held-out loss; the best "
                          "epoch's weights are kept", ge=1)
    temperatures: tuple[float, ...] = param((0.2, 0.5, 0.7, 1.0, 1.5), "write a text at each "
                                            "temperature after every epoch")
    prompt: str | None = param(None, "the beginning of these texts, and the model's default "
                               "prompt; the default is a frequent beginning of the data")
    length: int = param(50, "the number of tokens in each of these texts", ge=0)
    seed: int = param(0, "the random seed of the first weights and of the order of the data", ge=0)
    tokens: str | None = param(None, "how texts are split into tokens; the default is the "
                               f"preset's. {_each(Bundle.TOKENS)}", choices=tuple(Bundle.TOKENS))
    vocabulary_size: int | None = param(None, "the largest number of tokens in the vocabulary",
                                        ge=3)
    context_length: int | None = param(None, "the largest number of tokens that the network sees",
                                       ge=1)
    batch: int | None = param(None, "the number of rows in a step; the default is the preset's, or "
                              "less for little text", ge=1)
    learning_rate: float | None = param(None, "the learning rate, or its peak", gt=0)
    held_out: float = param(0.05, "the share of the texts to measure on", gt=0, lt=1)
    precision: str = param("auto", "the number format; auto is bfloat16 if the processor has it",
                           choices=("auto", *PRECISIONS))
    checkpoint_steps: int = param(500, "the number of steps between two checkpoints", ge=1)
    distribute: str | None = param(None, "share every batch among the devices of this machine "
                                   "(needs KERAS_BACKEND=jax)", choices=(DATA,))
    # fmt: on

    def resolve(self) -> tuple[Architecture, Recipe]:
        """Return the preset's architecture and recipe, updated with the settings.

        Raises:
            UsageError: an unknown preset or style of tokens, a size or seed out of range, or a
                setting that the model to start from has decided.
            ModelFileError: no readable model at `start_from`.
        """
        self._check()
        if self.out.name in ("", os.pardir):
            raise UsageError(
                f"a model needs a folder with a name of its own, such as "
                f"{self.out / 'my-model'}, not {str(self.out)!r}"
            )
        preset = self._preset()
        architecture = replace(
            preset.architecture, **self._replaced(("vocabulary_size", "context_length"))
        )
        recipe = replace(preset.recipe, **self._replaced(("tokens", "batch", "learning_rate")))
        return architecture, recipe

    def command(self, corpus: str) -> str:
        """Return the command line that trains the same model on a corpus of this name."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in LISTED_APART}
        default = {f.name: f.default for f in fields(self)}
        options = [
            f"--{name.replace('_', '-')} {shlex.quote(str(value))}"
            for name, value in values.items()
            if value != default[name]
        ]
        if self.start_from is not None:
            options.append(f"--from {shlex.quote(str(self.start_from))}")
        preset = f"--preset {self.preset} --epochs {self.epochs} --seed {self.seed}"
        return " ".join([f"corelm train --data {shlex.quote(corpus)} {preset}", *options])

    def _check(self) -> None:
        for setting in SETTINGS:
            value = getattr(self, setting.name)
            if value is not None:
                setting.convert(value)
        for name in SIZES:
            size = getattr(self, name)
            if size is not None and size > LARGEST_SIZE:
                raise UsageError(f"{name} must be at most {LARGEST_SIZE}, not {size}")
        if self.seed > LARGEST_SEED:
            raise UsageError(f"seed must be at most {LARGEST_SEED}, not {self.seed}")

    def _preset(self) -> Preset:
        """Return the preset; with a model to start from, the preset of its kind with its sizes."""
        if self.start_from is None:
            return PRESETS[self.preset]
        for name in OF_THE_MODEL:
            if getattr(self, name) is not None:
                option = name.replace("_", "-")
                raise UsageError(
                    f"the model in {str(self.start_from)!r} has its own {name.replace('_', ' ')}; "
                    f"leave --{option} out, or train a new model without --from"
                )

        model = Bundle.describe(self.start_from)
        preset = PRESETS[model.architecture.kind]  # presets are named after kinds
        recipe = replace(preset.recipe, tokens=model.tokens)
        return replace(preset, architecture=model.architecture, recipe=recipe)

    def _replaced(self, names: Sequence[str]) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


DEFAULTS = TrainingSettings(data="imdb", out=Path())


def _options() -> Iterator[params.Parameter]:
    """Yield the fields with a rule, as parameters."""
    types = get_type_hints(TrainingSettings)
    for each in fields(TrainingSettings):
        if "rule" in each.metadata:
            arguments = get_args(types[each.name]) or (types[each.name],)
            is_tuple = arguments[-1] is ...
            yield params.Parameter(
                each.name,
                tuple if is_tuple else arguments[0],
                None if each.name == "preset" else each.default,  # it depends on the data
                each.metadata["rule"],
                arguments[0] if is_tuple else None,
            )


SETTINGS = tuple(_options())
"""The settings that are options of `corelm train`, with their rules."""


def choose_precision(wanted: str, saved: str | None = None) -> str:
    """Return the Keras dtype policy of a run.

    If `auto` measured speed, one command could give different models on a busy machine, and a run
    could refuse its own checkpoint. So it depends on the processor alone, and a resumed run keeps
    its first choice.

    Args:
        wanted: `float32`, `mixed_bfloat16` or `auto`.
        saved: the precision of the checkpoint that is resumed.

    Example:
        >>> choose_precision("auto", saved="float32")
        'float32'
    """
    if wanted in PRECISIONS:
        return wanted
    if saved in PRECISIONS:
        return str(saved)
    return "mixed_bfloat16" if processor_flags() & BFLOAT16_FLAGS else "float32"


def processor_flags() -> frozenset[str]:
    """Return the instruction sets of the processor as Linux names them; elsewhere none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # another system, or a container without it
        return frozenset()
    flags = (s.partition(":")[2] for s in lines if s.startswith(("flags", "Features")))
    return frozenset(next(flags, "").split())
