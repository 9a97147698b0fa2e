"""The commands, in this process."""

import dataclasses
import json
from pathlib import Path

import programs
import pytest
import typer
from corelm_replay import EntropyLog, commands, receipts, record
from corelm_replay.receipts import ReceiptLog
from typer.testing import CliRunner

import corelm
from corelm.cli.app import main
from corelm.testing import ToyModel

ON_KERAS = """
import dataclasses, keras, sys
from corelm_replay import receipts, verify
from corelm_train import KerasLanguageModel
from small_models import numbered_words
keras.utils.set_random_seed(1)
network = keras.Sequential([keras.Input((None,), dtype="int32"), keras.layers.Embedding(12, 8),
                            keras.layers.GRU(8, return_sequences=True), keras.layers.Dense(12)])
model = KerasLanguageModel(network, numbered_words(12), 20)
[(_, made)] = receipts(model, "w1 w2", sampler="temperature(t=0.5)", length=8, seed=1)
tokens = [*made.tokens[:5], 2 + (made.tokens[5] - 1) % 10, *made.tokens[6:]]
changed = verify(dataclasses.replace(made, tokens=tokens), model)
print(keras.backend.backend(), verify(made, model), [each.place for each in changed][:1])
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("corelm.load", lambda name: ToyModel())
    apps = commands.corelm_commands()

    def call(name, *arguments):
        return CliRunner().invoke(apps[name], arguments)

    return call


def test_rollouts_are_recorded_and_audited(command):
    chain = "top_k(k=3) | temperature(t=0.5)"
    made = command("replay", "record", "the", "--sampler", chain, "--length", "8",
                   "--output", "r.json")  # fmt: skip
    assert made.exit_code == 0, made.output
    shown = command("replay", "audit", "r.json", "--picture", "a.svg")
    assert "lost mass" in shown.output
    assert "<svg" in Path("a.svg").read_text("utf-8")
    figures = json.loads(command("replay", "audit", "r.json", "--json").output)
    assert figures["replayed_outside"] == 0
    assert command("replay", "audit", "r.json", "--fail-if", "replayed_outside > 0").exit_code == 0
    failing = command("replay", "audit", "r.json", "--fail-if", "ratios_outside > 0.01")
    assert failing.exit_code == 1


@pytest.mark.parametrize("condition", ["nothing > 0", "tokens", "tokens > x", "tokens > 1e999"])
def test_a_condition_that_cannot_be_read_is_refused(command, condition):
    command("replay", "record", "the", "--length", "2", "--output", "r.json")
    answer = command("replay", "audit", "r.json", "--fail-if", condition)
    assert isinstance(answer.exception, (Exception, typer.Exit))
    assert answer.exit_code != 0


def test_the_ratios_of_chains_are_a_table(command):
    shown = command("replay", "ratios", "--sampler", "top_k(k=3)", "-n", "2", "--length", "5")
    assert shown.output.splitlines()[1].startswith("top_k(k=3)")


def test_a_receipt_is_verified(command):
    _, (text, made) = receipts(ToyModel(), "the", sampler="top_p(p=0.8)", length=6, n=2, seed=1)
    made = dataclasses.replace(made, model="toy")
    Path("receipt.json").write_text(made.to_json(), "utf-8")
    good = command("verify", "receipt.json")
    assert good.output.startswith(
        f"all 6 tokens were drawn as stated:\n  top_p(p=0.8), toy, seed 1, sample 1\n  the {text}\n"
    )
    lines = dataclasses.replace(made, chain="top_p(\n\n p=0.8)")
    Path("receipt.json").write_text(lines.to_json(), "utf-8")
    assert "\n  top_p( p=0.8), toy, seed 1, sample 1\n" in command("verify", "receipt.json").output
    document = json.loads(Path("receipt.json").read_text("utf-8")) | {"seed": 7}
    Path("receipt.json").write_text(json.dumps(document), "utf-8")
    bad = command("verify", "receipt.json", "--json")
    assert bad.exit_code == 1
    assert json.loads(bad.output)["findings"]


@pytest.mark.long
@pytest.mark.engines("jax")
def test_a_receipt_of_a_keras_model_is_verified_on_another_backend_than_tensorflow():
    pytest.importorskip("keras", reason="pip install keras")
    folder = Path(programs.__file__).parent  # of small_models
    done = programs.python("-c", ON_KERAS, env={"KERAS_BACKEND": "jax"}, cwd=folder)
    assert done.stdout == "jax [] [5]\n", done.stderr


@pytest.mark.parametrize("chain", ["top_p(p=0.8)", "stochastic", "repetition_penalty(penalty=1.5)"])
def test_a_receipt_of_a_text_while_it_is_drawn_is_the_one_of_receipts(chain):
    [(_, expected)] = receipts(ToyModel(), "the", sampler=chain, length=6, seed=1)
    log = ReceiptLog("", ToyModel(), prompt="the", sampler=corelm.sampler(chain), seed=1)
    steps = corelm.stream(ToyModel(), "the", sampler=chain, length=6, seed=1)
    assert [step.tokens[0] for step in log.watch(steps)] == expected.tokens
    assert log.receipt() == expected


def test_corelm_sample_writes_the_receipt_of_its_text(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = ["This movie", "--sampler", "top_p", "--p", "0.9", "--length", "5", "--seed", "1"]
    assert main(["sample", *line, "--receipt", "receipt.json"]) == 0
    text = capsys.readouterr().out
    assert main(["sample", *line]) == 0
    assert capsys.readouterr().out == text
    assert main(["verify", "receipt.json"]) == 0
    assert capsys.readouterr().out == (
        f"all 5 tokens were drawn as stated:\n  top_p(p=0.9), imdb, seed 1\n  {text}"
        "  the text has no end: its receipt doesn't show whether more was drawn\n"
    )


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-n", "2"], "leave out -n"),
        (["--decoder", "beam"], "leave out --decoder"),
        (["--unknown"], "leave out --decoder and --unknown"),
        (["--output", "texts.jsonl"], "leave out --output"),
    ],
)
def test_a_receipt_of_something_else_is_refused_before_a_text_is_drawn(
    tmp_path, monkeypatch, capsys, options, reason
):
    monkeypatch.chdir(tmp_path)
    assert main(["sample", "This movie", "--receipt", "receipt.json", *options]) != 0
    assert reason in capsys.readouterr().err
    assert main(["sample", "This movie", "--receipt", "-"]) == 2
    assert "standard output has the text" in capsys.readouterr().err
    assert main(["sample", "This movie", "--receipt", "nowhere/receipt.json"]) != 0
    assert "nowhere is not a folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_log_of_entropies_is_shown(command):
    log = EntropyLog("entropy.jsonl")
    log.add(0, record(ToyModel(), ["the"], sampler="top_k(k=5)", length=4, seed=1), reward=0.5)
    assert "kept mass" in command("replay", "entropy", "entropy.jsonl").output
