"""Training: rows in order, interruption and resumption, the text after each epoch, the bundle."""

import errno
import logging
import random
import re
import shutil
from collections import namedtuple
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from small_models import numbered_words

keras = pytest.importorskip("keras", reason="pip install keras tensorflow")

from corelm_train import (  # noqa: E402
    KerasLanguageModel,
    TrainingRun,
    TrainingSettings,
    build,
    checkpoint,
    train,
    weights_of,
)
from corelm_train import settings as training_settings  # noqa: E402
from corelm_train.callbacks import TextGeneration  # noqa: E402
from corelm_train.checkpoint import Checkpoint, checkpoint_path  # noqa: E402
from corelm_train.devices import Devices, connect  # noqa: E402
from corelm_train.learning import Scorer, ShuffledBatches  # noqa: E402
from corelm_train.progress import Reporter  # noqa: E402

import corelm  # noqa: E402
from corelm import CorelmError  # noqa: E402
from corelm.bundles import (  # noqa: E402
    Architecture,
    Bundle,
    BytePairVocabulary,
    Corpus,
    WordVocabulary,
)
from corelm.errors import MissingDependencyError, TrainingError, UsageError  # noqa: E402

pytestmark = pytest.mark.slow

SIZES = {"book": (1, 2), "default": (1, 2), "gpt2": (2, 2), "rnn": (1, 1)}


@pytest.fixture(autouse=True, scope="module")
def small_presets():
    """The presets with their recipes, eight wide."""
    with pytest.MonkeyPatch.context() as patch:
        for name, (blocks, heads) in SIZES.items():
            preset = training_settings.PRESETS[name]
            small = replace(
                preset.architecture, context_length=6, width=8, dense=16, heads=heads, blocks=blocks
            )
            recipe = replace(preset.recipe, batch=4, learning_rate=0.01)
            patch.setitem(
                training_settings.PRESETS, name, replace(preset, architecture=small, recipe=recipe)
            )
        yield


@pytest.fixture
def texts(tmp_path):
    """Forty short texts in which b follows a, c follows b, and so on."""
    return write_texts(tmp_path)


def write_texts(folder):
    rng, letters = random.Random(0), ["a", "b", "c", "d", "e", "f", "g", "h"]
    lines = []
    for _ in range(40):
        start = rng.randrange(8)
        lines.append(" ".join(letters[(start + i) % 8] for i in range(rng.randrange(4, 12))))
    path = folder / "texts.txt"
    path.write_text("\n".join(lines))
    return path


def settings(texts, **changes):
    defaults = {
        "data": str(texts),
        "out": texts.parent / "model",
        "vocabulary_size": 20,
        "batch": 4,
        "epochs": 2,
        "prompt": "a b",
        "temperatures": (0.2, 1.0),
        "length": 3,
        "precision": "float32",
        "checkpoint_steps": 5,
    }
    return TrainingSettings(**{**defaults, **changes})


class Notes(Reporter):
    """A reporter that keeps all events, and may interrupt the run at a step, like Ctrl-C."""

    def __init__(self, interrupt_at=None):
        self.steps, self.perplexities, self.written = [], [], []
        self.interrupt_at = interrupt_at
        self.plan, self.warnings, self.kept_at = None, [], None

    def started(self, plan):
        self.plan = plan

    def warn(self, text):
        self.warnings.append(text)

    def kept(self, checkpoint, done, total):
        self.kept_at = (checkpoint, done, total)

    def step(self, done, total, loss):
        self.steps.append((done, total))
        if done == self.interrupt_at:
            raise KeyboardInterrupt

    def measured(self, epoch, perplexity):
        self.perplexities.append((epoch, perplexity))

    def texts(self, epoch, texts):
        self.written.append((epoch, texts))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, small_presets):
    """The model of a run that nothing interrupted."""
    return train(settings(write_texts(tmp_path_factory.mktemp("whole"))), Notes())


@pytest.fixture(scope="module")
def after_six_steps(tmp_path_factory, small_presets):
    """The checkpoint of a run that was interrupted at its sixth step."""
    chosen = settings(write_texts(tmp_path_factory.mktemp("interrupted")))
    with pytest.raises(KeyboardInterrupt):
        train(chosen, Notes(interrupt_at=6))
    return checkpoint_path(chosen.out)


@pytest.fixture
def interrupted(texts, after_six_steps):
    """The checkpoint of a run with these texts that was interrupted at its sixth step."""
    return shutil.copy(after_six_steps, checkpoint_path(settings(texts).out))


@pytest.mark.parametrize(
    "preset",
    ["default", *(pytest.param(p, marks=pytest.mark.long) for p in ("book", "gpt2", "rnn"))],
)
def test_a_trained_model_can_be_loaded_and_writes(texts, preset):
    notes = Notes()
    size = 262 if preset == "gpt2" else 20  # its first 258 tokens are special ones and bytes
    precision = "mixed_bfloat16" if preset == "default" else "float32"
    chosen = settings(texts, preset=preset, vocabulary_size=size, precision=precision)
    path = train(chosen, notes)
    model = corelm.load(path)
    [text] = corelm.generate(model, "a b", sampler="temperature(t=0.5)", length=4, seed=1)
    assert len(text.tokens) >= 1
    assert [epoch for epoch, _ in notes.perplexities] == [1, 2]
    assert notes.steps[-1][0] == notes.steps[-1][1] == len(notes.steps)
    assert [sorted(written) for _, written in notes.written] == [[0.2, 1.0]] * 2
    assert all(text.startswith("a b") for _, both in notes.written for text in both.values())
    assert not checkpoint_path(chosen.out).exists()
    manifest = Bundle.read(path).manifest  # which says how the model was made
    assert manifest["training"]["seed"] == 0
    assert manifest["training"]["preset"] == preset
    assert manifest["training"]["texts"] == 38
    learned = Corpus.of(texts, manifest["training"]["held_out"]).train
    assert manifest["training"]["texts_digest"] == Corpus.digest(learned)
    assert manifest["training"]["precision"] == precision
    assert manifest["figures"]["held_out"]["texts"] == 2
    assert manifest["figures"]["held_out"]["perplexity"] > 1


def test_training_learns_what_follows_what_and_tensorflow_warns_of_no_retracing(texts, caplog):
    tensorflow_log = logging.getLogger("tensorflow")
    tensorflow_log.addHandler(caplog.handler)
    try:
        path = train(settings(texts, epochs=40, temperatures=(0.2,)), Notes())
    finally:
        tensorflow_log.removeHandler(caplog.handler)
    assert "retracing" not in caplog.text
    [text] = corelm.generate(corelm.load(path), "a b", sampler="greedy", length=3)
    assert text.text.lower() == " c d e"


def weights(path):
    return Bundle.read(path).weights


@pytest.mark.long
@pytest.mark.usefixtures("interrupted")
def test_an_interrupted_run_resumes_to_the_same_weights(texts, whole):
    """Interrupted in the middle and at the end of an epoch, it ends with an uninterrupted run's."""
    for done, interrupt_at in ((6, 13), (13, None)):
        notes = Notes(interrupt_at)
        with pytest.raises(KeyboardInterrupt) if interrupt_at else nullcontext():
            train(settings(texts), notes, resume=True)
        assert notes.steps[0][0] == done + 1  # nothing replayed, nothing skipped
    assert_same_weights(weights(settings(texts).out), weights(whole))


@pytest.fixture
def scripted(monkeypatch):
    """Let runs measure these perplexities after their epochs."""

    def script(*perplexities):
        def perplexity(run):
            return perplexities[run.losses.epochs]

        monkeypatch.setattr(TrainingRun, "perplexity", perplexity)

    return script


class Weights(Notes):
    """Keeps the weights after each epoch as the model's file would hold them."""

    def __init__(self, monkeypatch, interrupt_at=None):
        super().__init__(interrupt_at)
        self.of_epochs, self.finished_with = [], None
        end_epoch = TrainingRun.end_epoch

        def recorded(run, loss):
            end_epoch(run, loss)
            self.of_epochs.append(
                {n: w.astype(np.float16) for n, w in weights_of(run.network).items()}
            )

        monkeypatch.setattr(TrainingRun, "end_epoch", recorded)

    def finished(self, losses, patience):
        self.finished_with = (losses, patience)


def assert_same_weights(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_training_stops_when_the_held_out_loss_rises_and_keeps_the_best_epoch(
    texts, scripted, monkeypatch
):
    scripted(9.0, 4.0, 5.0, 4.5, 3.0)
    notes = Weights(monkeypatch)
    path = train(settings(texts, epochs=5, patience=2), notes)
    assert [epoch for epoch, _ in notes.perplexities] == [1, 2, 3, 4]
    assert_same_weights(weights(path), notes.of_epochs[1])
    last = notes.of_epochs[3]
    assert any((weight != last[name]).any() for name, weight in weights(path).items())
    training = Bundle.read(path).manifest["training"]
    assert (training["kept_epoch"], training["steps"]) == (2, 4 * notes.plan.steps_per_epoch)
    np.testing.assert_allclose(np.exp(training["losses"]["held_out"]), [9.0, 4.0, 5.0, 4.5])
    assert training["losses"]["training"][3] < training["losses"]["training"][0]
    assert notes.finished_with[0].best_epoch == 2


@pytest.mark.long
def test_a_resumed_run_has_the_best_weights_of_the_interrupted_one(texts, scripted, monkeypatch):
    """Interrupted before its best epoch has ended, in the middle of the next, and at its end."""
    scripted(9.0, 4.0, 5.0, 4.5, 4.2)
    chosen = settings(texts, epochs=5, patience=3)
    steps = TrainingRun(chosen, *chosen.resolve(), Notes()).steps_per_epoch
    notes = Weights(monkeypatch)
    for epochs_done, ended in ((2, 1), (2.5, 2), (3, 2)):
        notes.interrupt_at = int(epochs_done * steps)
        with pytest.raises(KeyboardInterrupt):
            train(chosen, notes, resume=bool(notes.steps))
        assert len(notes.of_epochs) == ended
    path = train(chosen, notes, resume=True)
    assert_same_weights(weights(path), notes.of_epochs[1])
    assert notes.perplexities[-1] == (5, pytest.approx(4.2))
    assert Bundle.read(path).manifest["training"]["kept_epoch"] == 2


def test_a_loss_that_is_not_a_number_after_the_first_epoch_ends_the_training(texts, scripted):
    scripted(float("nan"))
    with pytest.raises(TrainingError, match=r"isn't a number .* choose a smaller --learning-rate"):
        train(settings(texts), Notes())


def test_a_network_that_diverges_later_leaves_the_best_epoch(texts, scripted):
    scripted(4.0, float("nan"), float("inf"))
    path = train(settings(texts, epochs=3), Notes())
    assert Bundle.read(path).manifest["training"]["kept_epoch"] == 1


def test_little_text_has_a_small_batch_and_warnings(texts):
    chosen = settings(texts, batch=None)
    notes = Notes()
    run = TrainingRun(chosen, *chosen.resolve(), notes)
    run.begin(resume=False)
    assert run.recipe.batch == len(run.rows) // 16
    little, few, rough = notes.warnings
    assert re.fullmatch(r"this is little text \(\d+ tokens\): .*", little)
    assert few.endswith(f"try at least --epochs {-(-100 // run.steps_per_epoch)}")
    assert rough.startswith("only 2 texts are held out")


@pytest.mark.usefixtures("interrupted")
def test_a_checkpoint_is_not_overwritten_nor_resumed_by_another_or_shorter_run(texts):
    with pytest.raises(TrainingError, match="--resume"):
        train(settings(texts), Notes())
    for changes, message in (
        ({"seed": 3}, "seed was 0 and is 3"),
        ({"epochs": 1}, "epochs was 2 and is 1"),
    ):
        with pytest.raises(TrainingError, match=message):
            train(settings(texts, **changes), Notes(), resume=True)
    texts.write_text(texts.read_text().replace("a b c d", "a b c e"))
    with pytest.raises(TrainingError, match="data was"):
        train(settings(texts), Notes(), resume=True)


@pytest.mark.usefixtures("interrupted")
def test_a_resumed_run_may_be_longer(texts):
    notes = Notes()
    train(settings(texts, epochs=3), notes, resume=True)
    assert notes.steps[0][0] == 7
    assert notes.steps[-1][0] == notes.steps[-1][1] == notes.plan.steps
    assert [epoch for epoch, _ in notes.perplexities][-1] == 3


def test_a_finished_model_can_be_trained_further(texts, whole):
    more = settings(texts, vocabulary_size=None, start_from=whole)
    notes = Notes()
    before, after = Bundle.read(whole), Bundle.read(train(more, notes))
    assert after.vocabulary.words == before.vocabulary.words
    assert after.architecture == before.architecture
    assert notes.perplexities[0][1] < before.manifest["figures"]["held_out"]["perplexity"] * 1.1
    assert f"--from {whole}" in after.manifest["training"]["command"]
    with pytest.raises(UsageError, match="has its own vocabulary size"):
        train(settings(texts, start_from=whole), Notes())


def test_an_interrupted_run_says_what_it_kept_and_keeps_the_precision_it_chose(texts, monkeypatch):
    monkeypatch.setattr(training_settings, "processor_flags", lambda: frozenset({"amx_bf16"}))
    chosen = settings(texts, precision="auto")
    left = [chosen.out.with_name(f".{name}.0123abcd.new") for name in ("model", "model.checkpoint")]
    left[0].mkdir()
    left[1].write_text("cut off")
    notes = Notes(interrupt_at=6)
    with pytest.raises(KeyboardInterrupt):
        train(chosen, notes)
    plan = notes.plan
    assert notes.kept_at == (checkpoint_path(chosen.out), 6, plan.steps)
    assert not any(path.exists() for path in left)  # killed writers left them
    assert (plan.texts, plan.epochs, plan.steps_done) == (38, 2, 0)
    assert plan.steps == 2 * plan.steps_per_epoch
    assert plan.steps_per_epoch == -(-plan.rows // 4)
    assert plan.tokens == 6 * plan.rows
    assert plan.weights > plan.vocabulary * 8
    monkeypatch.setattr(training_settings, "processor_flags", frozenset)
    later = Notes(interrupt_at=7)
    with pytest.raises(KeyboardInterrupt):
        train(chosen, later, resume=True)
    assert (later.plan.precision, later.plan.steps_done) == ("mixed_bfloat16", 6)


@pytest.mark.parametrize("place", ["file", "foreign", "below a file"])
def test_a_target_is_tried_before_the_first_step(texts, place):
    out = texts.parent / "taken"
    if place == "foreign":
        out.mkdir()
        (out / "mine.txt").write_text("mine")
    else:
        out.write_text("mine")
    notes = Notes()
    with pytest.raises(CorelmError, match="taken"):
        train(settings(texts, out=out / "model" if place == "below a file" else out), notes)
    assert notes.steps == []


def test_another_backend_is_refused_in_one_line(texts, monkeypatch):
    with pytest.raises(MissingDependencyError, match=r"not tensorflow: .* set KERAS_BACKEND=jax"):
        train(settings(texts, distribute="data"), Notes())
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(MissingDependencyError, match="not torch: set KERAS_BACKEND=tensorflow"):
        train(settings(texts), Notes())


def test_a_batch_is_filled_up_so_that_every_device_gets_as_many_rows():
    devices = Devices()
    devices.count = 4
    batch = np.repeat(np.arange(1, 6)[:, None], 2, axis=1)
    assert devices.fill(batch).tolist() == [*batch.tolist(), [0, 0], [0, 0], [0, 0]]
    assert devices.fill(batch[:4]).tolist() == batch[:4].tolist()


def test_several_processes_are_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    with pytest.raises(UsageError, match="in one process, on all its devices: unset it"):
        connect("data")


def test_a_full_disk_at_the_end_keeps_the_training(texts):
    disk = pytest.MonkeyPatch()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    class FullAtTheEnd(Notes):
        def texts(self, epoch, texts):
            disk.setattr("os.fsync", full)

    chosen = settings(texts, epochs=1)
    with pytest.raises(TrainingError, match=r"No space left .* kept in '.*model.checkpoint': make"):
        train(chosen, FullAtTheEnd())
    disk.undo()
    notes = Notes()
    assert Bundle.read(train(settings(texts, epochs=1), notes, resume=True)).manifest["training"]
    assert notes.steps == []  # nothing is left to do but to write the model


@pytest.mark.parametrize("state", [None, "nonsense", "{}", '{"identity": {}, "seconds": 7}'])
def test_other_metadata_than_was_saved_is_named(tmp_path, state):
    from safetensors import safe_open
    from safetensors.numpy import save_file

    array = np.zeros(2, np.float32)
    Checkpoint(tmp_path / "good", {}).save([array], 1.0)
    with safe_open(tmp_path / "good", "numpy") as file:
        metadata = file.metadata()
    save_file({"0000": array}, tmp_path / "bad", state and metadata | {"corelm": state})
    assert Checkpoint(tmp_path / "good", {}).load([(2,)])[0] == 1.0
    with pytest.raises(TrainingError, match="the checkpoint bad is damaged"):
        Checkpoint(tmp_path / "bad", {}).load([(2,)])


def test_a_full_disk_is_named_with_the_file(tmp_path, monkeypatch):
    def full(file, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.SafeFile, "write", full)
    message = "some' could not be written: No space left on device; "
    with pytest.raises(TrainingError, match=message + "make room, then start again$"):
        Checkpoint(tmp_path / "some", {}).save([np.zeros(2)], 1.0)
    (tmp_path / "some").touch()
    with pytest.raises(TrainingError, match=message + "the earlier one is unchanged: .*--resume$"):
        Checkpoint(tmp_path / "some", {}).save([np.zeros(2)], 1.0)


def test_a_disk_without_room_for_two_checkpoints_is_refused_before_training(texts, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10, 8, 2))
    notes = Notes()
    with pytest.raises(TrainingError, match=r"checkpoint' needs [\d.]+ MB, where 0.0 MB are free"):
        train(settings(texts), notes)
    assert not notes.steps


def test_there_must_be_something_to_resume(texts):
    with pytest.raises(TrainingError, match="nothing to resume"):
        train(settings(texts), Notes(), resume=True)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_checkpoint_is_refused(texts, interrupted, damage):
    content = bytearray(interrupted.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    interrupted.write_bytes({"cut": content[:-9], "flip": content, "empty": b""}[damage])
    with pytest.raises(TrainingError, match="damaged"):
        train(settings(texts), Notes(), resume=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "huge"}, "preset must be one of book, default, small, gpt2, rnn, not 'huge'"),
        ({"tokens": "bytes"}, "tokens must be one of words, .* byte-pairs, not 'bytes'"),
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"context_length": 99999999999}, "context_length must be at most 16777216, not 99999999"),
        ({"seed": 99999999999999999999}, "seed must be at most 4294967295, not 9999"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"batch": 0}, "batch must be at least 1, not 0"),
        ({"precision": "float8"}, "precision must be one of .*, not 'float8'"),
        ({"distribute": "model"}, "distribute must be .*data.*, not 'model'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(texts, changes, message):
    with pytest.raises(UsageError, match=message):
        train(settings(texts, **changes), Notes())


def test_an_epoch_has_every_row_once_in_an_order_of_its_own():
    rows = np.arange(10)[:, None] * np.ones((1, 3), int)
    dataset = ShuffledBatches(rows, batch=4, seed=1, epoch=0)
    epochs = []
    for _ in range(2):
        epochs.append([dataset[i][0][:, 0].tolist() for i in range(len(dataset))])
        dataset.on_epoch_end()
    first, second = epochs
    assert sorted(row for batch in first for row in batch) == list(range(10))
    assert first != second
    assert [len(batch) for batch in first] == [4, 4, 2]


@pytest.mark.parametrize(
    ("preset", "vocabulary", "first_drawn"),
    [
        ("book", numbered_words(9), 2),
        ("default", numbered_words(9), 2),
        ("gpt2", BytePairVocabulary([("a", "b")]), 1),
    ],
)
def test_scores_are_surprisals_and_entropies_of_the_network(preset, vocabulary, first_drawn):
    network = build(Architecture(preset, len(vocabulary), 4, width=8, dense=8, heads=2))
    rows = np.array([[3, 4, 5, 0, 0], [6, 7, 8, 2, 3]], np.uint16)
    scores = Scorer(network, vocabulary)(rows)
    outputs = np.asarray(network(rows[:, :-1].astype("int32")), dtype=np.float64)
    p = outputs if preset == "book" else np.exp(outputs)
    p /= p.sum(-1, keepdims=True)
    np.testing.assert_allclose(scores.surprisal[1, 0], -np.log(p[1, 0, 7]), atol=1e-4)
    drawn = p[1, 2, first_drawn:]
    q = drawn / drawn.sum()
    np.testing.assert_allclose(scores.entropy[1, 2], -(q * np.log(q)).sum(), atol=1e-4)
    np.testing.assert_allclose(scores.log_mass[1, 2], np.log(drawn.sum()), atol=1e-4)


def test_padding_does_not_count_in_the_loss(texts):
    run = TrainingRun(
        settings(texts, preset="book"), *settings(texts, preset="book").resolve(), Notes()
    )
    rows = run.rows[:8].astype("int32")
    assert (rows == 0).any()
    surprisal = run.scorer(run.rows[:8]).surprisal
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
