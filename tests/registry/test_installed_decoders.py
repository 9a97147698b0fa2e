"""Every decoder of a plugin is found by the command line, with its parameters as options."""

from __future__ import annotations

import shlex

import pytest

from corelm.cli.app import main

COMMANDS = {
    "corelm_arithmetic": "arithmetic -n 2",
    "corelm_backtrack": "backtrack --banned 'was, x' --pattern '\\. I'",
    "corelm_beam": "beam --width 3 -n 2",
    "corelm_best_of": "best_of --candidates 3",
    "corelm_contrastive": "contrastive --k 3 --alpha 0.4",
    "corelm_diverse_beam": "diverse_beam --groups 2 -n 2",
    "corelm_guidance": "guidance --negative boring --weight 2",
    "corelm_mbr": "mbr --candidates 3",
    "corelm_power": "power --block 4 --moves 2",
    "corelm_speculative": "speculative --guesses 3",
    "corelm_stochastic_beam": "stochastic_beam --width 3 -n 2",
}
REPORTS = {"corelm_power", "corelm_speculative"}
"""The modules of decoders that report their work on standard error."""


@pytest.mark.parametrize(("module", "words"), COMMANDS.items(), ids=COMMANDS)
def test_it_samples(capsys: pytest.CaptureFixture[str], module: str, words: str) -> None:
    pytest.importorskip(module)
    command = ["sample", "--decoder", *shlex.split(words), "--length", "5", "--no-stream"]
    assert main([*command, "--sampler", "stochastic", "--seed", "1"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("[0]\nThis movie " if "-n 2" in words else "This movie ")
    assert err.startswith(f"{words.split()[0]}: ") == (module in REPORTS)


def test_more_texts_than_beams_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("corelm_beam", reason="pip install ./plugins/corelm-beam")
    command = "sample --decoder beam --width 1 -n 2 --sampler greedy"
    assert main(command.split()) == 2
    expected = "error: width must be at least 2 to find 2 texts, not 1"
    assert expected in capsys.readouterr().err
