"""The losses of a training: the best epoch, the advice and the curve."""

import math

import pytest
from corelm_train import PRESETS
from corelm_train.cli.output import loss_curve
from corelm_train.progress import LossHistory, TrainingPlan, after_training, before_training
from corelm_train.settings import preset_for


def plan(tokens=10**6, steps_per_epoch=100, epochs=3):
    steps = steps_per_epoch * epochs
    return TrainingPlan(
        1000, 50, 100, tokens, 100, steps_per_epoch, epochs, steps, 0, "float32", "small"
    )


def test_the_first_of_equal_epochs_is_the_best():
    losses = LossHistory([3.0, 2.0, 1.0], [2.0, 1.5, 1.5])
    assert (losses.best_epoch, losses.epochs_since_best) == (2, 1)
    assert LossHistory().best_epoch == 0


def test_enough_text_steps_and_held_out_texts_need_no_warning():
    assert before_training(plan(), held_out=10) == []
    assert "try at least --epochs 10" in before_training(plan(steps_per_epoch=10), 10)[0]
    assert "(900 tokens)" in before_training(plan(tokens=900), 10)[0]
    assert before_training(plan(), 1)[0].startswith("only 1 text is held out")


@pytest.mark.parametrize(
    ("held_out", "sentences"),
    [
        ([3.0], []),
        ([3.0, 2.0], ["the held-out loss still fell in the last epoch: more --epochs may help"]),
        (
            [3.0, math.log(8.0), 2.5],
            ["kept the weights of epoch 2, with a held-out perplexity of 8.0: "
             "after it the network learned its texts by heart"],
        ),
        (
            [3.0, math.log(8.0), math.log(8.0) + 0.004],
            ["kept the weights of epoch 2, with a held-out perplexity of 8.0: "
             "after it the held-out loss hardly changed"],
        ),
    ],
)  # fmt: skip
def test_the_sentences_at_the_end(held_out, sentences):
    assert after_training(LossHistory([1.0] * len(held_out), held_out), patience=2) == sentences


def test_the_end_by_patience_is_explained():
    stopped, kept = after_training(LossHistory([1.0] * 3, [1.0, 2.0, 3.0]), patience=2)
    assert stopped == "stopped, because the held-out loss has not improved for 2 epochs"
    assert kept.startswith("kept the weights of epoch 1, ")


def test_a_curve_of_two_losses():
    assert loss_curve(LossHistory([4.0, 2.0, 0.5], [4.0, 2.5, 4.0])) == [
        "loss by epoch, in nats per token: o held-out, . training, * kept",
        "  4.00 |o           o",
        "       |",
        "       |",
        "       |      *",
        "       |      .",
        "       |",
        "       |",
        "  0.50 |            .",
        "       +-------------",
        "        1           3",
    ]


@pytest.mark.parametrize("epochs", [1, 2, 59, 60, 61, 1000])
def test_a_curve_is_small_and_of_plain_characters(epochs):
    held_out = [2.0 + abs(epoch - epochs // 3) / epochs for epoch in range(epochs)]
    lines = loss_curve(LossHistory([None] * epochs, held_out))
    assert len(lines) == 11
    assert all(len(line) <= 68 and line.isascii() and line.isprintable() for line in lines)
    assert sum(line.count("*") for line in lines[1:]) == 1


def test_the_preset_depends_on_the_amount_of_text():
    assert preset_for(299_999) == "small"
    assert preset_for(300_000) == "default"
    assert {"small", "default"} <= PRESETS.keys()
