"""Every sampler by name: its expression, its aliases, and the values that it refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest

import corelm
from corelm import ParameterError

INF = math.inf
NAN = math.nan


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("adaptive_p(target=0.4)", "adaptive_p(target=0.4, decay=0.9)"),
        ("ban(words=['a b', 3, ','])", "ban(words=('a b', 3, ','))"),
        ("dry(multiplier=0.8, sequence_breakers=['.', 3])",
         "dry(multiplier=0.8, base=1.75, allowed_length=2, sequence_breakers=('.', 3), "
         "last=0, skip_prompt=False)"),
        ("frequency_penalty(0.5)", "frequency_penalty(penalty=0.5, last=0, skip_prompt=False)"),
        ("greedy", "greedy"),
        ("logit_bias(bias={'no': -inf, 2: 1.5})", "logit_bias(bias={'no': -inf, 2: 1.5})"),
        ("min_length(n=20)", "min_length(n=20)"),
        ("mirostat", "mirostat(tau=5.0, eta=0.1)"),
        ("no_repeat_ngram(3)", "no_repeat_ngram(n=3, last=0, skip_prompt=False)"),
        ("phase(start='(', end=5, inside=temperature(0.5), outside=min_p(p=0.1) | greedy)",
         "phase(start='(', end=5, inside=temperature(t=0.5), outside=min_p(p=0.1) | greedy)"),
        ("presence_penalty(0.5)", "presence_penalty(penalty=0.5, last=0, skip_prompt=False)"),
        ("repetition_penalty(1.2, last=64)",
         "repetition_penalty(penalty=1.2, last=64, skip_prompt=False, normalised=False)"),
        ("stochastic", "stochastic"),
        ("temperature(temperature=0.2)", "temperature(t=0.2)"),
        ("uniform", "uniform"),
    ],
)  # fmt: skip
def test_its_expression_is_read_back(text: str, expression: str) -> None:
    sampler = corelm.sampler(text)
    assert str(sampler) == expression
    assert type(sampler).__module__ == f"corelm_samplers.{text.partition('(')[0]}"
    assert corelm.sampler(expression) == sampler


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("adaptive_p", {"target": 1.1}, "target must be at least -1 and at most 1, not 1.1"),
    ("adaptive_p", {"decay": 1}, "decay must be at least 0 and at most 0.99, not 1.0"),
    ("adaptive_p", {"decay": -0.1}, "decay must be at least 0 and at most 0.99, not -0.1"),
    *(
        ("ban", {"words": words},
         f"words must be a list of items that are each a token id or a word, not {words!r}")
        for words in ([1.5], [""], [None], 5)
    ),
    ("dry", {"multiplier": -1}, "multiplier must be at least 0 and below inf, not -1.0"),
    ("dry", {"base": 0.9}, "base must be at least 1 and below inf, not 0.9"),
    ("dry", {"allowed_length": -1}, "allowed_length must be at least 0, not -1"),
    ("dry", {"sequence_breakers": [1.5]},
     "sequence_breakers must be a list of items that are each a token id or a word, not [1.5]"),
    *(
        ("dynamic_temperature", {name: value},
         f"{name} must be at least 0 and below inf, not {value}")
        for name in ("t_min", "t_max", "exponent")
        for value in (-1.0, INF)
    ),
    ("edt", {"t": INF}, "t must be at least 0 and below inf, not inf"),
    ("edt", {"theta": -1}, "theta must be at least 0 and below inf, not -1.0"),
    ("edt", {"base": 0}, "base must be above 0 and at most 1, not 0.0"),
    ("edt", {"base": 1.1}, "base must be above 0 and at most 1, not 1.1"),
    ("epsilon", {"epsilon": -0.1}, "epsilon must be at least 0 and below 1, not -0.1"),
    ("epsilon", {"epsilon": 1}, "epsilon must be at least 0 and below 1, not 1.0"),
    ("eta", {"epsilon": -0.1}, "epsilon must be at least 0 and below 1, not -0.1"),
    ("eta", {"epsilon": 1}, "epsilon must be at least 0 and below 1, not 1.0"),
    *(
        ("logit_bias", {"bias": {token: bias}},
         f"bias must map token ids or words to numbers or -inf, not {token!r} to {bias!r}")
        for token, bias in [(0, INF), (0, NAN), (0, "1"), (0, True), ("", 1), (1.5, 1), (True, 1)]
    ),
    ("min_p", {"p": -0.1}, "p must be at least 0 and at most 1, not -0.1"),
    ("min_p", {"p": 1.0001}, "p must be at least 0 and at most 1, not 1.0001"),
    ("mirostat", {"tau": -1}, "tau must be at least 0, not -1.0"),
    ("mirostat", {"tau": NAN}, "tau must be a number, not nan"),
    ("mirostat", {"eta": -0.1}, "eta must be at least 0 and below inf, not -0.1"),
    ("mirostat", {"eta": INF}, "eta must be at least 0 and below inf, not inf"),
    ("presence_penalty", {"penalty": INF}, "penalty must be above -inf and below inf, not inf"),
    ("presence_penalty", {"penalty": -INF}, "penalty must be above -inf and below inf, not -inf"),
    ("quadratic", {"factor": -1}, "factor must be at least 0 and below inf, not -1.0"),
    ("quadratic", {"factor": INF}, "factor must be at least 0 and below inf, not inf"),
    ("quadratic", {"factor": 1, "curve": 0.5}, "curve must be at least 1 and at most 10, not 0.5"),
    ("repetition_penalty", {"penalty": 0}, "penalty must be above 0 and below inf, not 0.0"),
    ("repetition_penalty", {"penalty": -1}, "penalty must be above 0 and below inf, not -1.0"),
    ("repetition_penalty", {"penalty": INF}, "penalty must be above 0 and below inf, not inf"),
    ("repetition_penalty", {"last": -1}, "last must be at least 0, not -1"),
    ("repetition_penalty", {"last": 2.5}, "last must be a whole number, not 2.5"),
    ("schedule", {"shape": "up"}, "shape must be one of linear, cosine, step, not 'up'"),
    ("temperature", {"t": -1}, "t must be at least 0, not -1.0"),
    ("temperature", {"t": -1e-300}, "t must be at least 0, not -1e-300"),
    ("temperature", {"t": -INF}, "t must be at least 0, not -inf"),
    ("temperature", {"t": NAN}, "t must be a number, not nan"),
    ("temperature", {"t": "abc"}, "t must be a number, not 'abc'"),
    ("temperature", {"t": ""}, "t must be a number, not ''"),
    ("temperature", {"t": True}, "t must be a number, not True"),
    ("tail_free", {"z": -0.1}, "z must be at least 0 and at most 1, not -0.1"),
    ("tail_free", {"z": 1.0001}, "z must be at least 0 and at most 1, not 1.0001"),
    ("top_a", {"a": -0.1}, "a must be at least 0, not -0.1"),
    ("top_h", {"h": -0.1}, "h must be at least 0 and at most 1, not -0.1"),
    ("top_h", {"h": 1.0001}, "h must be at least 0 and at most 1, not 1.0001"),
    ("top_k", {"k": -1}, "k must be at least 0, not -1"),
    ("top_k", {"k": 2.5}, "k must be a whole number, not 2.5"),
    ("top_k", {"k": "many"}, "k must be a whole number, not 'many'"),
    ("top_n_sigma", {"n": -1}, "n must be at least 0, not -1.0"),
    ("top_n_sigma", {"n": NAN}, "n must be a number, not nan"),
    ("top_p", {"p": -0.1}, "p must be at least 0 and at most 1, not -0.1"),
    ("top_p", {"p": 1.0001}, "p must be at least 0 and at most 1, not 1.0001"),
    ("top_p", {"p": NAN}, "p must be a number, not nan"),
    ("typical", {"p": 0}, "p must be above 0 and at most 1, not 0.0"),
    ("typical", {"p": 1.0001}, "p must be above 0 and at most 1, not 1.0001"),
    ("xtc", {"probability": 1.1}, "probability must be at least 0 and at most 1, not 1.1"),
    ("xtc", {"threshold": -0.1}, "threshold must be at least 0 and at most 1, not -0.1"),
    ("xtc", {"special": (1.5,)},
     "special must be a list of items that are each a token id or a word, not (1.5,)"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "values", "message"), REFUSED)
def test_an_invalid_value_is_refused(name: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        corelm.sampler(name, **values)
    assert str(caught.value) == message
