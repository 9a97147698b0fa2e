"""Training: rows in order, interruption and resumption, the text after each epoch, the bundle."""

import random
from dataclasses import replace

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import corelm  # noqa: E402
from corelm.errors import TrainingError, UsageError  # noqa: E402
from corelm.model import bundle  # noqa: E402
from corelm.model.architectures import Architecture  # noqa: E402
from corelm.model.keras_layers import build  # noqa: E402
from corelm.model.keras_model import KerasLanguageModel  # noqa: E402
from corelm.model.training import presets  # noqa: E402
from corelm.model.training.batches import ShuffledBatches  # noqa: E402
from corelm.model.training.checkpoint import Checkpoint  # noqa: E402
from corelm.model.training.progress import Reporter  # noqa: E402
from corelm.model.training.run import Run, checkpoint_path, train  # noqa: E402
from corelm.model.training.scoring import score  # noqa: E402
from corelm.model.training.settings import TrainingSettings  # noqa: E402
from corelm.model.training.text_generation import TextGeneration  # noqa: E402
from corelm.model.vocabulary import WordVocabulary  # noqa: E402

SIZES = {"book": (1, 2), "default": (2, 2), "rnn": (1, 1)}


@pytest.fixture(autouse=True)
def small_presets(monkeypatch):
    """The presets with their recipes, eight wide."""
    for name, (blocks, heads) in SIZES.items():
        preset = presets.PRESETS[name]
        small = replace(
            preset.architecture, context_length=6, width=8, dense=16, heads=heads, blocks=blocks
        )
        recipe = replace(preset.recipe, batch=4, learning_rate=0.01)
        monkeypatch.setitem(
            presets.PRESETS, name, replace(preset, architecture=small, recipe=recipe)
        )


@pytest.fixture
def texts(tmp_path):
    """Forty short texts in which b follows a, c follows b, and so on."""
    rng, letters = random.Random(0), ["a", "b", "c", "d", "e", "f", "g", "h"]
    lines = []
    for _ in range(40):
        start = rng.randrange(8)
        lines.append(" ".join(letters[(start + i) % 8] for i in range(rng.randrange(4, 12))))
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(lines))
    return path


def settings(texts, **changes):
    defaults = {
        "data": str(texts),
        "out": texts.parent / "model",
        "vocabulary_size": 20,
        "epochs": 2,
        "prompt": "a b",
        "temperatures": (0.2, 1.0),
        "length": 3,
        "precision": "float32",
        "checkpoint_steps": 5,
    }
    return TrainingSettings(**{**defaults, **changes})


class Notes(Reporter):
    """Remembers what it is told, and may interrupt the run like Ctrl-C at a step."""

    def __init__(self, interrupt_at=None):
        self.steps, self.perplexities, self.written = [], [], []
        self.interrupt_at = interrupt_at

    def step(self, done, total, loss):
        self.steps.append((done, total))
        if done == self.interrupt_at:
            raise KeyboardInterrupt

    def measured(self, epoch, perplexity):
        self.perplexities.append((epoch, perplexity))

    def texts(self, epoch, texts):
        self.written.append((epoch, texts))


@pytest.mark.parametrize("preset", ["book", "default", "rnn"])
def test_a_trained_model_can_be_loaded_and_writes(texts, preset):
    notes = Notes()
    path = train(settings(texts, preset=preset), notes)
    model = corelm.load(path)
    [text] = corelm.generate(model, "a b", sampler="temperature(t=0.5)", length=4, seed=1)
    assert len(text.tokens) >= 1
    assert [epoch for epoch, _ in notes.perplexities] == [1, 2]
    assert notes.steps[-1][0] == notes.steps[-1][1] == len(notes.steps)
    assert [sorted(written) for _, written in notes.written] == [[0.2, 1.0]] * 2
    assert all(text.startswith("a b") for _, both in notes.written for text in both.values())


def test_the_manifest_says_how_the_model_was_made(texts):
    manifest = bundle.read(train(settings(texts, precision="mixed_bfloat16"), Notes())).manifest
    assert manifest["training"]["seed"] == 0
    assert manifest["training"]["preset"] == "default"
    assert manifest["training"]["texts"] == 38
    assert manifest["training"]["precision"] == "mixed_bfloat16"
    assert manifest["figures"]["held_out"]["texts"] == 2
    assert manifest["figures"]["held_out"]["perplexity"] > 1


def test_training_learns_what_follows_what(texts):
    path = train(settings(texts, epochs=40), Notes())
    [text] = corelm.generate(corelm.load(path), "a b", sampler="greedy", length=3)
    assert text.text.lower() == " c d e"


def weights(path):
    return bundle.read(path).weights


@pytest.mark.parametrize("interrupt_at", [3, 5, 11])
def test_an_interrupted_run_resumes_to_the_same_weights(texts, interrupt_at):
    whole = settings(texts, out=texts.parent / "whole")
    broken = settings(texts, out=texts.parent / "broken")
    expected = weights(train(whole, Notes()))
    with pytest.raises(KeyboardInterrupt):
        train(broken, Notes(interrupt_at))
    notes = Notes()
    resumed = weights(train(broken, notes, resume=True))
    assert notes.steps[0][0] == interrupt_at + 1  # nothing replayed, nothing skipped
    assert expected.keys() == resumed.keys()
    for name in expected:
        np.testing.assert_array_equal(expected[name], resumed[name], err_msg=name)


def test_the_checkpoint_is_gone_once_the_model_is_written(texts):
    chosen = settings(texts)
    train(chosen, Notes())
    assert not checkpoint_path(chosen.out).exists()


def interrupted(texts, **changes):
    with pytest.raises(KeyboardInterrupt):
        train(settings(texts, **changes), Notes(interrupt_at=6))
    return checkpoint_path(settings(texts).out)


def test_a_checkpoint_is_not_overwritten_by_mistake(texts):
    interrupted(texts)
    with pytest.raises(TrainingError, match="--resume"):
        train(settings(texts), Notes())


def test_resuming_another_run_is_refused_and_the_difference_shown(texts):
    interrupted(texts)
    with pytest.raises(TrainingError, match="epochs was 2 and is 3"):
        train(settings(texts, epochs=3), Notes(), resume=True)


def test_resuming_with_other_data_is_refused(texts):
    interrupted(texts)
    texts.write_text(texts.read_text().replace("a b c d", "a b c e"))
    with pytest.raises(TrainingError, match="data was"):
        train(settings(texts), Notes(), resume=True)


def test_there_must_be_something_to_resume(texts):
    with pytest.raises(TrainingError, match="nothing to resume"):
        train(settings(texts), Notes(), resume=True)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_checkpoint_is_refused(texts, damage):
    path = interrupted(texts)
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    path.write_bytes({"cut": content[:-9], "flip": content, "empty": b""}[damage])
    with pytest.raises(TrainingError, match="damaged"):
        train(settings(texts), Notes(), resume=True)


def test_a_checkpoint_needs_its_metadata(tmp_path):
    from safetensors.numpy import save_file

    save_file({"0000": np.zeros(2, np.float32)}, tmp_path / "bare")
    with pytest.raises(TrainingError, match="damaged"):
        Checkpoint(tmp_path / "bare", {}).load([])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "huge"}, "no preset 'huge'"),
        ({"tokens": "bytes"}, "no tokens 'bytes'"),
        ({"epochs": 0}, "epochs is too small: 0"),
        ({"batch": 0}, "batch is too small: 0"),
        ({"precision": "float8"}, "precision is"),
    ],
)
def test_settings_that_make_no_sense_are_refused(texts, changes, message):
    with pytest.raises(UsageError, match=message):
        train(settings(texts, **changes), Notes())


def rows_of(epochs, **changes):
    rows = np.arange(10)[:, None] * np.ones((1, 3), int)
    dataset = ShuffledBatches(rows, batch=4, seed=1, **{"epoch": 0, **changes})
    seen = []
    for _ in range(epochs):
        seen.append([dataset[i][0][:, 0].tolist() for i in range(len(dataset))])
        dataset.on_epoch_end()
    return seen


def test_an_epoch_has_every_row_once_in_an_order_of_its_own():
    first, second = rows_of(2)
    assert sorted(row for batch in first for row in batch) == list(range(10))
    assert first != second
    assert [len(batch) for batch in first] == [4, 4, 2]


def test_the_order_depends_on_seed_and_epoch_alone():
    assert rows_of(2)[1] == rows_of(1, epoch=1)[0]


def test_batches_that_were_learned_from_are_skipped():
    assert rows_of(1, skip=1)[0] == rows_of(1)[0][1:]


def test_inputs_and_targets_are_offset_by_one():
    inputs, targets = ShuffledBatches(np.array([[1, 2, 3, 4]]), 1, 0, 0)[0]
    assert (inputs.tolist(), targets.tolist()) == ([[1, 2, 3]], [[2, 3, 4]])


@pytest.mark.parametrize("preset", ["book", "default"])
def test_scores_are_surprisals_and_entropies_of_the_network(preset):
    architecture = Architecture(preset, 9, 4, width=8, dense=8, heads=2)
    network = build(architecture)
    vocabulary = WordVocabulary(["", "[UNK]", *"abcdefg"], "symbols")
    rows = np.array([[3, 4, 5, 0, 0], [6, 7, 8, 2, 3]], np.uint16)
    scores = score(network, rows, vocabulary)
    outputs = np.asarray(network(rows[:, :-1].astype("int32")), dtype=np.float64)
    p = outputs if preset == "book" else np.exp(outputs)
    p /= p.sum(-1, keepdims=True)
    np.testing.assert_allclose(scores.surprisal[1, 0], -np.log(p[1, 0, 7]), atol=1e-4)
    q = p[1, 2, 2:] / p[1, 2, 2:].sum()
    np.testing.assert_allclose(scores.entropy[1, 2], -(q * np.log(q)).sum(), atol=1e-4)
    np.testing.assert_allclose(scores.kept[1, 2], np.log(p[1, 2, 2:].sum()), atol=1e-4)


def test_padding_is_no_part_of_the_loss(texts):
    run = Run(settings(texts, preset="book"), *settings(texts, preset="book").resolve(), Notes())
    rows = run.rows[:8].astype("int32")
    assert (rows == 0).any()
    surprisal = score(run.network, run.rows[:8], run.vocabulary).surprisal
    expected = surprisal[rows[:, 1:] != 0].mean()
    assert np.isclose(
        run.network.evaluate(rows[:, :-1], rows[:, 1:], verbose=0), expected, atol=1e-4
    )


class Successor(keras.layers.Layer):
    """Scores of the next letter: one more than this one, by a margin that the test chooses."""

    def call(self, ids):
        return 4.0 * keras.ops.one_hot((ids - 2 + 1) % 8 + 2, 10)


def letters():
    inputs = keras.Input((None,), dtype="int32")
    network = keras.Model(inputs, Successor()(inputs))
    vocabulary = WordVocabulary(["", "[UNK]", *"abcdefgh"], "symbols")
    return KerasLanguageModel(network, vocabulary, 20, probabilities=False)


def test_the_callback_reads_the_last_word_of_a_prompt_of_several():
    told = []
    callback = TextGeneration(letters(), "f a b", (0.0,), 3, lambda *what: told.append(what))
    callback.on_epoch_end(0)
    assert told == [(1, {0.0: "f a b c d e"})]


def test_the_callback_passes_the_temperature_on():
    told = []
    callback = TextGeneration(letters(), "a", (0.0, 50.0), 12, lambda *what: told.append(what[1]))
    callback.on_epoch_end(4)
    cold, hot = told[0][0.0], told[0][50.0]
    assert cold == "a b c d e f g h a b c d e"
    assert hot != cold
