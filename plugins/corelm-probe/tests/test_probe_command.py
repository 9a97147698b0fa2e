"""`corelm probe`, with the engines that are installed."""

from __future__ import annotations

import json

import pytest
from corelm_probe.engines import http

import corelm
from corelm.cli.app import main


@pytest.fixture
def probe(capfd):
    """Return a function that runs the command and returns its exit code, output and errors."""

    def call(*arguments):
        return main(["probe", *map(str, arguments)]), *capfd.readouterr()

    return call


def test_models_are_written_once(probe, tmp_path):
    code, out, _ = probe("models", tmp_path, "--only", "flat")
    assert code == 0
    assert out.splitlines()[0] == str(tmp_path / "flat")
    code, _, err = probe("models", tmp_path, "--only", "flat")
    assert code == 2
    assert "already exists" in err


def test_wrong_usage_is_named(probe, tmp_path, monkeypatch):
    (tmp_path / "list.json").write_text("[]")
    for arguments, message in (
        (["run", "http://x"], "as --from FILE or as --sampler"),
        (["run", "http://x", "--from", tmp_path / "list.json"], "must be a JSON object"),
        (["run", "http://x", "--model", "slop", "--sampler", "greedy"], "did you mean 'slope'"),
        (["run", "elsewhere:slope", "--sampler", "greedy"], "is no engine"),
        (["run", "http://x", "--sampler", "greedy", "--key", "secret"], "--key takes env:NAME"),
    ):
        code, out, err = probe(*arguments)
        assert (code, out) == (2, "")
        assert message in err


def test_a_verdict_is_lines_or_one_document(probe, monkeypatch):
    from corelm_probe import MODELS
    from planted import engine_of

    ties = engine_of(MODELS["ties"], "top_k(k=7)")
    monkeypatch.setattr("corelm_probe.engines.open_engine", lambda *_, **__: ties)
    right = ["run", "http://x", "--model", "ties", "--format", "corelm", "--draws", "1000"]
    code, out, err = probe(*right, "--sampler", "top_k(k=7)")
    assert code == 0
    assert err.startswith("drawing 8 x 100 tokens after 1 of a prompt\n")
    assert "verdict    consistent with its settings" in out
    assert "check      a seed repeats its text: yes" in out
    assert "unseen     with ties: logits of another step, text or model" in out
    code, out, _ = probe(*right, "--sampler", "top_k(k=9)", "--json")
    assert code == 1
    document = json.loads(out)
    assert document["format"] == "corelm.probe/1"
    assert document["consistent"] is False
    assert document["fit"]["chain"] == "top_k(k=9)"


@pytest.mark.long
@pytest.mark.engines("llama_cpp", "gguf")
def test_a_penalty_in_llama_cpp_python_leaves_out_the_prompt(probe, tmp_path):
    probe("models", tmp_path, "--only", "slope")
    chain = "repetition_penalty(penalty=1.3, last=64) | temperature(t=0.8)"
    arguments = ["--sampler", chain, "--draws", "4000", "--json"]
    code, out, _ = probe("run", f"llama_cpp:{tmp_path / 'slope.gguf'}", *arguments)
    verdict = json.loads(out)
    assert code == 1
    assert verdict["explanation"]["about"] == "repetition_penalty doesn't count the prompt"
    assert verdict["fault"] == "repetition_penalty"


@pytest.mark.long
@pytest.mark.engines("mlx_lm")
def test_mlx_is_consistent(probe, tmp_path):
    probe("models", tmp_path, "--only", "slope")
    chain = "top_p(p=0.9) | top_k(k=20) | temperature(t=0.8)"
    arguments = ["--sampler", chain, "--draws", "1000", "--json"]
    code, out, _ = probe("run", f"mlx:{tmp_path / 'slope'}", *arguments)
    assert code == 0, out


def test_every_api_has_a_format_that_corelm_reads():
    for api in http.APIS.values():
        assert corelm.to_settings("stochastic", api.format)


@pytest.mark.long
@pytest.mark.engines("keras_hub")
def test_keras_hub_is_consistent(probe, tmp_path):
    pytest.importorskip("keras_hub")
    probe("models", tmp_path, "--only", "slope")
    target = f"keras_hub:{tmp_path / 'slope'}"
    code, out, _ = probe(
        "run", target, "--sampler", "temperature(t=0.8)", "--draws", "300", "--json"
    )
    assert code == 0, out
    code, _, err = probe("run", target, "--sampler", "min_p(p=0.1)", "--draws", "300")
    assert code == 1
    assert "KerasHub has no sampler min_p(p=0.1)" in err
