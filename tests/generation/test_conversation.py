"""`corelm chat` and `corelm sample --chat`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import corelm
from corelm.errors import UsageError
from corelm.generation.conversation import Conversation
from corelm.questions.scoring import score
from corelm.runs import Strategy, plugins
from corelm.testing import ToyModel


class ChatToy(ToyModel):
    """A toy whose template joins the messages."""

    def __init__(self) -> None:
        super().__init__()
        self.vocabulary.render_chat = self.render  # type: ignore[attr-defined]

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        return " ".join(message["content"] for message in messages)


class MarkedToy(ChatToy):
    """A toy whose template begins with a mark."""

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        return f"the {super().render(messages)}"


CHAIN = Strategy.of("top_p(p=0.9)")


def talk(seed: int = 1, system: str = "") -> Conversation:
    return Conversation(ChatToy(), CHAIN, seed=seed, length=6, system=system)


def answer(conversation: Conversation, text: str) -> str:
    return "".join(step.text for step in conversation.say(text))


def test_an_answer_continues_all_messages() -> None:
    conversation = talk(system="the dog")
    first = answer(conversation, "the cat")
    expected = corelm.stream(
        ChatToy(), "the dog the cat", sampler="top_p(p=0.9)", length=6, seed=1, sample=0
    )
    assert first == "".join(step.text for step in expected)
    second = answer(conversation, "the mat")
    prompt = f"the dog the cat {first.strip()} the mat"
    expected = corelm.stream(ChatToy(), prompt, sampler="top_p(p=0.9)", length=6, seed=1, sample=1)
    assert second == "".join(step.text for step in expected)
    roles = [message["role"] for message in conversation.messages]
    assert roles == ["system", "user", "assistant", "user", "assistant"]


def test_an_answer_that_was_undone_comes_again() -> None:
    conversation = talk()
    first = answer(conversation, "the cat")
    assert conversation.undo() == "the cat"
    assert conversation.messages == []
    assert answer(conversation, "the cat") == first
    with pytest.raises(UsageError, match="nothing was said"):
        talk().undo()


def test_an_answer_that_is_cut_off_is_kept_as_far_as_it_was_read() -> None:
    conversation = talk()
    steps = conversation.say("the cat")
    text = next(steps).text
    steps.close()  # type: ignore[attr-defined]
    assert conversation.messages[-1] == {"role": "assistant", "content": text.strip()}


def test_a_model_without_a_template_is_refused() -> None:
    with pytest.raises(UsageError, match="this model has no chat template"):
        Conversation(ToyModel(), CHAIN)


# ---- the commands ----


class _Plugin:
    @staticmethod
    @corelm.hookimpl
    def corelm_models() -> Mapping[str, Callable[[], ChatToy]]:
        return {"chat_toy": ChatToy, "marked_toy": MarkedToy}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    import io

    from corelm.cli.app import run as run_command

    if "chat_toy" not in {offer.name for offer in plugins.registry().offers("corelm_models")}:
        plugins.registry().register(_Plugin)

    def ran(*words: str, lines: Sequence[str] = ()) -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        code = run_command(list(words))
        out, err = capsys.readouterr()
        return f"{code}\n{out}\n{err}"

    return ran


def test_a_message_that_is_not_text_is_left_out(run, monkeypatch, capsys) -> None:
    import io

    from corelm.cli.app import run as run_command

    run("chat", "--model", "chat_toy")  # registers it
    given = io.BytesIO(b"/sampler greedy\nthe \xff cat\nthe cat\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(given))
    assert run_command(["chat", "--model", "chat_toy", "--seed", "1", "--length", "4"]) == 0
    shown = capsys.readouterr()
    assert "error: the message is not UTF-8, so it was left out\n" in shown.err
    [text] = corelm.generate(ChatToy(), "the cat", sampler="greedy", length=4)
    assert shown.out == f"{text.text}\n"


def test_the_command_answers_lines_and_obeys_commands(run: Callable[..., str]) -> None:
    lines = ["/sampler greedy", "the cat", "/undo", "/seed 5", "/sampler", "/smapler", "", "/help"]
    shown = run("chat", "--model", "chat_toy", "--seed", "1", "--length", "4", lines=lines)
    [text] = corelm.generate(ChatToy(), "the cat", sampler="greedy", length=4)
    assert shown.startswith("0\n")
    assert f"\n{text.text}\n" in shown
    assert "seed 1; /help lists the commands" in shown
    assert "forgotten: the cat" in shown
    assert "seed 5" in shown
    assert "sampler greedy" in shown
    assert "there is no command /smapler; did you mean '/sampler'?" in shown
    assert "/undo                 forget" in shown


def test_the_command_goes_on_after_an_error(run: Callable[..., str]) -> None:
    lines = ["/sampler top_q", "/seed x", "/undo", "the cat", "/again", "/quit", "the cat"]
    shown = run("chat", "--model", "chat_toy", "--length", "4", "--seed", "1", lines=lines)
    assert shown.startswith("0\n")
    assert shown.count("error: ") == 3
    assert shown.partition("\n\n")[0].count("\n") == 2  # two answers, and none after /quit


def test_a_model_without_a_template_cannot_chat(run: Callable[..., str]) -> None:
    shown = run("chat", "--model", "imdb", lines=["hello"])
    assert shown.startswith("2\n")
    assert "this model has no chat template" in shown


def test_sample_answers_a_message(run: Callable[..., str]) -> None:
    shown = run(
        "sample", "the cat", "--model", "chat_toy", "--chat", "--sampler", "greedy", "--length", "5"
    )
    [text] = corelm.generate(ChatToy(), "the cat", sampler="greedy", length=5)
    assert shown.startswith(f"0\n{text.text}\n")  # without the marks of the template
    shown = run("sample", "the cat", "--model", "imdb", "--chat")
    assert "this model has no chat template" in shown


def _json(shown: str) -> Any:
    """The document that a command wrote, after its exit code."""
    return json.JSONDecoder().raw_decode(shown.removeprefix("0\n"))[0]


def test_explain_and_score_write_messages_in_the_template(
    run: Callable[..., str], tmp_path: Path
) -> None:
    chosen = ("--model", "marked_toy", "--chat", "--json")
    assert _json(run("explain", "cat", *chosen))["prompt"] == "the cat"
    file = tmp_path / "answers.jsonl"
    file.write_text('{"prompt": "cat", "text": " sat"}\n', "utf-8")
    [text] = _json(run("score", str(file), *chosen))["texts"]
    [expected] = score(ToyModel(), [("the cat", " sat")])
    assert (text["prompt"], text["surprisal"]) == ("cat", expected.surprisal)
    file.write_text('" sat"\n', "utf-8")
    assert "--chat scores answers to messages: give a .jsonl file" in run(
        "score", str(file), *chosen
    )
