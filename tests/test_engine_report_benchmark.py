"""A report on a model of transformers, small: human text is read in blocks."""

from __future__ import annotations

import pytest
from benchmark_scripts import script

pytest.importorskip("corelm_transformers", reason="pip install ./plugins/corelm-transformers")
pytest.importorskip("torch", reason="pip install torch")


def measured(capsys, *options):
    """Return the passes and the tokens of the report in the printed table."""
    sizes = ("--layers", "1", "--width", "64", "--texts", "1", "--length", "2")
    script("engine_report").main([*sizes, *options])
    [row] = [line for line in capsys.readouterr().out.splitlines() if "| report |" in line]
    _, _, passes, tokens, *_ = row.split("|")
    return int(passes), int(tokens.replace(",", ""))


@pytest.mark.slow
def test_one_token_a_pass_takes_more_passes_for_the_same_tokens(capsys):
    in_blocks, tokens = measured(capsys)
    one_by_one, same_tokens = measured(capsys, "--one-by-one")
    assert one_by_one > in_blocks
    assert same_tokens == tokens
