"""A mask or a choice that fails is named with its step, wherever the core asks it."""

from __future__ import annotations

import json

import numpy as np
import pytest

import corelm
from corelm import Context, Mask, Sampler, Switch, param
from corelm.cli.app import main
from corelm.commands import ExitCode
from corelm.errors import SamplerError
from corelm.runs import Endings, Strategy, Texts
from corelm.scaling.text_batches import WritePrompts
from corelm.testing import ToyModel

LENGTH = 4
GREEDY = corelm.sampler("greedy")


class Fails(Mask):
    """Fail from a step on: by an exception, or by what it returns."""

    step: int = param(2, "the first step at which it fails", ge=0)
    how: str = param("raises", "what it does there")

    def allowed(self, context: Context):
        if context.position < self.step:
            return None
        match self.how:
            case "raises":
                return [None][context.position + 1]
            case "width":
                return np.ones((context.batch, 3), dtype=bool)
            case "axes":
                return np.ones(context.vocabulary_size, dtype=bool)
            case "type":
                return [[True] * context.vocabulary_size] * context.batch
        raise AssertionError


class Chooses(Switch):
    """Choose a mask that fails, or fail to choose."""

    inside: Sampler = param(Fails(step=0), "acts")
    step: int = param(99, "the first step at which it fails itself", ge=0)

    def choose(self, context: Context):
        return [] if context.position >= self.step else [self.inside] * context.batch


REASONS = {
    "raises": "failed at step {}: IndexError: list index out of range",
    "width": r"allowed the shape \(\d, 3\) instead of \(\d, 13\) at step {}",
    "axes": r"allowed the shape \(13,\) instead of \(\d, 13\) at step {}",
    "type": "allowed list instead of an array of bool at step {}",
}


def generate(sampler: Sampler, n: int = 2):
    sampler |= GREEDY  # the cat sat on the: the model has an end, but no text comes to it
    return corelm.generate(ToyModel(), "the", sampler=sampler, length=LENGTH, n=n, seed=3)


def stream(sampler: Sampler):
    return [*corelm.stream(ToyModel(), "the", sampler=sampler | GREEDY, length=LENGTH, seed=3)]


def write(sampler: Sampler):
    texts = Texts("the", Strategy.of(sampler | GREEDY), LENGTH, 2, 3, Endings())
    return WritePrompts(((texts, range(2)),), 0)(ToyModel())


def compare(sampler: Sampler):
    report = corelm.compare(ToyModel(), [sampler | GREEDY], prompts="the", n=2, length=LENGTH)
    [reason] = report.failed.values()
    raise SamplerError(reason)


COMPARE = pytest.param(compare, marks=pytest.mark.packages)


@pytest.mark.parametrize("how", REASONS)
@pytest.mark.parametrize("ask", [generate, stream, write, COMPARE])
def test_a_failure_in_a_text_is_named_with_its_step(ask, how):
    with pytest.raises(SamplerError, match=rf"^fails\(.*\) {REASONS[how].format(2)}$"):
        ask(Fails(how=how))


@pytest.mark.parametrize("how", REASONS)
@pytest.mark.parametrize("ask", [generate, write, COMPARE])
def test_a_failure_behind_the_last_token_is_named_too(ask, how):
    with pytest.raises(SamplerError, match=rf"^fails\(.*\) {REASONS[how].format(LENGTH)}$"):
        ask(Fails(step=LENGTH, how=how))


@pytest.mark.parametrize("step", [0, 2, LENGTH])
def test_the_texts_so_far_come_with_the_error(step):
    with pytest.raises(SamplerError) as caught:
        generate(Fails(step=step), n=66)
    texts = caught.value.generations
    assert [len(text.tokens) for text in texts] == [step] * 64  # those that grew together
    assert {text.is_cut_off for text in texts} == {False}


def test_the_failure_of_a_choice_is_its_own():
    with pytest.raises(SamplerError, match=r"^fails\(.*\) failed at step 0: IndexError"):
        generate(Chooses())
    with pytest.raises(SamplerError, match=r"must choose a sampler for each of 1 rows: \[\]"):
        generate(Chooses(Fails(step=99), step=LENGTH), n=1)


def test_a_mask_behind_the_last_token_sees_the_width_of_the_logits():
    """An engine's model may have more logits than its tokenizer has tokens."""
    widths = []

    class Width(Mask):
        """Note the number of logits."""

        def allowed(self, context: Context):
            widths.append(context.vocabulary_size)
            return np.ones((context.batch, context.vocabulary_size), dtype=bool)

    generate(Width())
    assert set(widths) == {13}
    assert len(widths) == LENGTH + 2  # and once for each text


PLUGIN = '''
import corelm


class FailsAt(corelm.Mask):
    """Fail at a step."""

    step: int = corelm.param(2, "the step", ge=0)

    def allowed(self, context):
        if context.position == self.step:
            raise ValueError("no mask here")


@corelm.hookimpl
def corelm_samplers():
    return {"fails_at": FailsAt}
'''


@pytest.mark.parametrize("step", [2, LENGTH])
@pytest.mark.parametrize("options", [["--json"], ["-n", "2"], []])
def test_the_command_line_shows_what_was_drawn_and_names_the_mask(
    installed_plugin, capsys, step, options
):
    installed_plugin("corelm-fails-at", {"fails_at": "corelm_fails_at"}, PLUGIN)
    command = ["sample", "This", "--length", str(LENGTH), "--seed", "1", *options]
    complete = options and step == LENGTH  # texts, of which the command has more to tell
    code = main([*command, "--sampler", f"fails_at(step={step}) | greedy"])
    assert code == (ExitCode.PARTLY_FAILED if complete else ExitCode.FAILED)
    shown = capsys.readouterr()
    assert main([*command, "--sampler", "greedy", "--length", str(step)]) == 0
    drawn = capsys.readouterr().out
    if options == ["--json"]:
        shown_texts, drawn_texts = (json.loads(out)["texts"] for out in (shown.out, drawn))
        assert [text["tokens"] for text in shown_texts] == [text["tokens"] for text in drawn_texts]
    else:
        assert shown.out == drawn
    assert f"fails_at(step={step}) failed at step {step}: ValueError: no mask here" in shown.err
