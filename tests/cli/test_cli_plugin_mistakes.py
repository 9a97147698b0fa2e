"""`corelm plugins --check` names each mistake of an author that a text or a report would hide."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import main

import corelm
from corelm.testing import decoder_laws

Install = Callable[..., Path]

HEAD = """
import random
import time
import numpy as np
import corelm
from corelm import param
from corelm.testing import ToyModel

class Words:
    words = ["a", "b", "c"]
    def __len__(self): return 3
    def encode(self, text): return [self.words.index(word) for word in text.split()]
    def decode(self, ids): return " ".join(self.words[i] for i in ids)

class Three:
    context_length = 20
    vocabulary = Words()
    def next_token_distribution(self, tokens): return np.tile([0.5, 0.3, 0.2], (len(tokens), 1))
"""

CALL = "def __call__(self, logits, context): return logits / 2"
FIGURE = "def figure(self, tokens, texts): return float(len(texts))"
COMPARE = "def compare(self, texts, human, model):"
SAY = "meaning = 'a figure'"
ANCESTRAL = "def __call__(self, task): return corelm.Ancestral()(task)"

# By kind: the base, the lines of the class, and what the check says.
OFFERS = {
    "sampler": [
        ("corelm.Sampler", ["read = frozenset()", CALL], "has the attribute read, which nothing"),
        (
            "corelm.Sampler",
            ["is_argmax_invarient = True", CALL],
            "did you mean 'is_argmax_invariant'?",
        ),
        (
            "corelm.Sampler",
            [f"'''{'Sharpen the distribution. ' * 20}'''", CALL],
            "has a description of 519 characters",
        ),
        (
            "corelm.Sampler",
            [
                "def __call__(self, logits, context):",
                "    return (logits * (1 + context.tokens[-1:].sum() % 2)).astype(logits.dtype)",
            ],
            "breaks the law treats_rows_alone",
        ),
        (
            "corelm.Sampler",
            ["def __call__(self, logits, context):", "    np.random.seed(0)", "    return logits"],
            "breaks the law repeats_itself: Sampler4() drew random numbers",
        ),
        (
            "corelm.Sampler",
            ["t: float = param(2.0)", "neutral = {'t': '1'}", CALL],
            "has values in `neutral` of another type",
        ),
        (
            "corelm.Sampler",
            ["t: float = param(2.0, gt=0)", "example = {'t': -1}", CALL],
            "refuses its own example: t must be above 0",
        ),
        (
            "corelm.Mask",
            ["def allowed(self, context): context.batch"],
            "returns nothing in allowed",
        ),
        (
            "corelm.Mask",
            [
                "n: int = param(0)",
                "neutral = {'n': 0}",
                "def allowed(self, context):",
                "    ids = np.arange(context.vocabulary_size)",
                "    return np.tile(ids != 3, (context.batch, 1))",
            ],
            "breaks the law changes_nothing_when_neutral",
        ),
        (
            "corelm.Switch",
            [
                "inside: corelm.Sampler = param('greedy')",
                "def choose(self, context):",
                "    return [corelm.sampler('min_length(n=3)')] * context.batch",
            ],
            "chose min_length(n=3), which is none of its parameters",
        ),
        (
            "corelm.Switch",
            ["def choose(self, context): return [self] * context.batch"],
            "which is none of its parameters",
        ),
        (
            "corelm.Switch",
            [
                "inside: corelm.Sampler = param('greedy')",
                "def choose(self, context): return [type(self.inside)] * context.batch",
            ],
            "must choose a sampler for each of 1 rows",
        ),
    ],
    "decoder": [
        (
            "corelm.Decoder",
            [
                "def __call__(self, task):",
                "    decoding = task.start()",
                "    while True:",
                "        step = decoding.draw()",
                "        decoding.advance()",
                "        yield step",
            ],
            "breaks the law ends_each_text",
        ),
        (
            "corelm.Decoder",
            ["def __call__(self, task):", "    while True: pass", "    yield"],
            "did not end within 0.5 seconds (asked for samples [0, 1]",
        ),
        (
            "corelm.Decoder",
            ["def __call__(self, task):", "    time.sleep(9)", "    yield"],
            "did not end within 0.5 seconds",
        ),
        (
            "corelm.Decoder",
            [ANCESTRAL, "def next_tokens(self, task): return [3, 4]"],
            "returned [3, 4] as candidates",
        ),
        (
            "corelm.Decoder",
            [ANCESTRAL, "def next_tokens(self, task): return {'cat': 0.5}"],
            "returned {'cat': 0.5} as candidates",
        ),
    ],
    "model": [
        (
            "Three",
            [
                "class vocabulary(Words):",
                "    def encode(self, text): return [-1 for _ in text.split()]",
                "vocabulary = vocabulary()",
            ],
            "encode returned -1 for",
        ),
        (
            "Three",
            [
                "class vocabulary(Words):",
                "    end = (2,)",
                "vocabulary = vocabulary()",
            ],
            "its vocabulary has the attribute end, which nothing reads; did you mean 'ends'?",
        ),
        (
            "ToyModel",
            [
                "class Session(type(ToyModel().start([[3]]))):",
                "    def select(self, rows):",
                "        super().select(np.flatnonzero(np.asarray(rows).astype(bool)))",
                "def start(self, tokens):",
                "    session = super().start(tokens)",
                "    session.__class__ = self.Session",
                "    return session",
            ],
            "breaks the law selects_rows",
        ),
    ],
    "metric": [
        ("corelm.SetMetric", [SAY, "def figure(self, *_): print(7)"], "returns nothing in figure"),
        ("corelm.SetMetric", [SAY, "def figure(self, *_): return '7'"], "it returned '7'"),
        ("corelm.SetMetric", [SAY, "def figure(self, *_): return {7: 1}"], "it returned {7: 1}"),
        ("corelm.SetMetric", [SAY, "def figure(self, *_): return []"], "it returned []"),
        ("corelm.SetMetric", [SAY, "def figure(self, *_): return True"], "it returned True"),
        ("corelm.SetMetric", [SAY, "def figure(self, *_): return float('nan')"], "nan; expected"),
        (
            "corelm.SetMetric",
            [SAY, "limits = (0, 1)", "def figure(self, *_): return 50"],
            "expected a number between 0 and 1, or None",
        ),
        (
            "corelm.SetMetric",
            [SAY, "def figure(self, tokens, texts): return len(texts[1])"],
            "IndexError: list index out of range",
        ),
        ("corelm.SetMetric", ["meaning = property(lambda self: None)", FIGURE], "has no meaning"),
        (
            "corelm.SetMetric",
            ["meaning = property(lambda self: 'the number of words ' * 25)", FIGURE],
            "has a meaning of 500 characters in 1 lines",
        ),
        ("corelm.SetMetric", [SAY, "n: int", FIGURE], "missing 1 required positional argument"),
        ("corelm.SetMetric", [SAY, "limit = (0, 1)", FIGURE], "has the attribute limit, which"),
        (
            "corelm.TextMetric",
            [SAY, "def of_text(self, tokens, text): return len(text) / len(text.split())"],
            "ZeroDivisionError: division by zero",
        ),
        (
            "corelm.TextMetric",
            [
                SAY,
                "longest = [1]",
                "def of_text(self, tokens, text):",
                "    self.longest[0] = max(self.longest[0], len(text))",
                "    return len(text) / self.longest[0]",
            ],
            "for the same texts. Keep nothing between calls",
        ),
        (
            "corelm.TokenMetric",
            [SAY, "def of_token(self, logits): return corelm.softmax(logits).max()"],
            "of_token returned np.float32(0.",
        ),
        (
            "corelm.TokenMetric",
            [SAY, "def of_token(self, logits): return logits.mean(axis=-1)"],
            "numbers between -1e+60 and 1e+60",
        ),
        (
            "corelm.TokenMetric",
            [
                SAY,
                "def of_token(self, logits):",
                "    p = corelm.softmax(logits)",
                "    return (p * np.log(p)).sum(axis=-1)",
            ],
            "of_token returned array([nan",
        ),
        (
            "corelm.TokenMetric",
            [
                SAY,
                "def of_token(self, logits):",
                "    logits[logits == -np.inf] = -9",
                "    return logits.max(axis=-1)",
            ],
            "ValueError: assignment destination is read-only",
        ),
        (
            "corelm.TokenMetric",
            [
                SAY,
                "def of_token(self, logits):",
                "    e = np.exp(logits - logits.max())",
                "    return (e / e.sum()).max(axis=-1)",
            ],
            "breaks the law treats_rows_alone",
        ),
        ("corelm.HumanMetric", [SAY, COMPARE, "    return 1.0"], "'float' object is not callable"),
        (
            "corelm.HumanMetric",
            [SAY, COMPARE, "    return lambda rows: float(len(texts))"],
            "returned a figure without a look at the rows",
        ),
        (
            "corelm.HumanMetric",
            [
                SAY,
                COMPARE,
                "    texts = sorted(texts)",
                "    return lambda rows: float(sum(len(texts[i]) for i in rows))",
            ],
            "breaks the law follows_the_rows",
        ),
        (
            "corelm.HumanMetric",
            [
                SAY,
                COMPARE,
                "    texts = [text for text in texts if text]",
                "    return lambda rows: float(sum(len(texts[i]) for i in rows))",
            ],
            "breaks the law follows_the_rows",
        ),
        (
            "corelm.HumanMetric",
            [
                SAY,
                COMPARE,
                "    apart = [len(text) - len(other) for text, other in zip(texts, human)]",
                "    return lambda rows: float(sum(apart[i] for i in rows))",
            ],
            "breaks the law follows_the_rows",
        ),
        (
            "corelm.HumanMetric",
            [SAY, COMPARE, "    return lambda some: float(sum(map(len, some)))"],
            "object of type 'int' has no len()",
        ),
        (
            "corelm.HumanMetric",
            [SAY, COMPARE, "    return lambda rows: random.random()"],
            "for the same texts",
        ),
    ],
}


def module(endless: bool) -> tuple[str, dict[str, str]]:
    """Return the code of a plugin with mistakes, and what the check says of each name.

    Args:
        endless: those that never end, or all others.
    """
    code, expected = HEAD, {}
    for kind, mistakes in OFFERS.items():
        names = {}
        for i, (base, lines, fault) in enumerate(mistakes):
            if endless != fault.startswith("did not end"):
                continue
            names[f"{kind}_{i}"] = cls = f"{kind.title()}{i}"
            code += f"class {cls}({base}):\n" + "".join(f"    {line}\n" for line in lines)
            expected[f"{kind}_{i}"] = fault
        offers = ", ".join(f"{name!r}: {cls}" for name, cls in names.items())
        code += f"@corelm.hookimpl\ndef corelm_{kind}s(): return {{{offers}}}\n"
    return code, expected


@pytest.mark.parametrize("endless", [False, True])
def test_each_mistake_is_named_with_its_plugin_class_and_hook(
    installed_plugin: Install,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    endless: bool,
) -> None:
    code, expected = module(endless)
    monkeypatch.setenv("CORELM_PLUGINS", "corelm-wrong")
    # On a busy machine half a second is little for a decoder that ends.
    monkeypatch.setattr(decoder_laws, "SECONDS", 0.5 if endless else 300)
    installed_plugin("corelm-wrong", dict.fromkeys(expected, "corelm_wrong"), code)
    assert main(["plugins", "--check"]) == 1
    written = capsys.readouterr().err
    for name, fault in expected.items():
        kind, number = name.split("_")
        where = f"the {kind} corelm-wrong:{name} ({kind.title()}{number} of corelm_{kind}s) "
        [line] = [line for line in written.splitlines() if where in line]
        assert fault in line
    assert main(["plugins", "--check", "--quick"]) == 1
    written = capsys.readouterr().err
    for law in ("treats_rows_alone", "ends_each_text", "selects_rows", "follows_the_rows"):
        assert f"breaks the law {law}" not in written


OBSERVES = "import corelm\n@corelm.hookimpl\ndef corelm_next_token(step):\n"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("step.token", "at step 0: AttributeError: token"),
        ("if step.position > 1: 1 / 0", "at step 2: ZeroDivisionError: division by zero"),
        ("step.logits[:] = 0", "at step 0: ValueError: assignment destination is read-only"),
        ("step.tokens = 0", "at step 0: FrozenInstanceError: cannot assign to field 'tokens'"),
    ],
)
def test_an_observer_that_fails_is_named(
    installed_plugin: Install,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: str,
    reason: str,
) -> None:
    monkeypatch.setenv("CORELM_PLUGINS", "corelm-eyes")
    code = f"{OBSERVES}    {line}\n"
    installed_plugin("corelm-eyes", {"corelm_next_token": "corelm_eyes"}, code)
    assert main(["plugins", "--check", "--quick"]) == 1
    name = "corelm-eyes:corelm_next_token (of corelm_next_token)"
    assert capsys.readouterr().err == f"warning: the observer {name} failed {reason}\n"


SAMPLER = (
    "import corelm\n"
    "class A(corelm.Sampler):\n"
    "    def __call__(self, logits, context): return logits\n"
    "@corelm.hookimpl\n"
    "def corelm_samplers(): return {'a': A}\n"
)


@pytest.mark.parametrize(
    ("code", "warning"),
    [
        (
            f"{SAMPLER}@corelm.hookimpl\ndef corelm_next_token(step): pass\n",
            "corelm_some has the hook corelm_next_token, but no entry point of this name",
        ),
        (
            f"{SAMPLER}@corelm.hookimpl\ndef corelm_samplers(): return {{'a': A, 'b': A}}\n",
            "corelm_some defines corelm_samplers twice; return all that it offers in one",
        ),
    ],
)
def test_a_hook_that_is_lost_is_named(
    installed_plugin: Install,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: str,
    warning: str,
) -> None:
    monkeypatch.setenv("CORELM_PLUGINS", "corelm-some")
    installed_plugin("corelm-some", {"a": "corelm_some"}, code)
    assert main(["plugins", "--check", "--quick"]) == 1
    assert warning in capsys.readouterr().err


def test_a_command_with_the_name_of_corelms_is_named(
    installed_plugin: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CORELM_PLUGINS", "corelm-ours")
    code = (
        "import corelm, typer\napp = typer.Typer()\n@app.command()\ndef go(): pass\n"
        "@corelm.hookimpl\ndef corelm_commands(): return {'sample': app}\n"
    )
    installed_plugin("corelm-ours", {"sample": "corelm_ours"}, code, group="corelm.commands")
    assert main(["plugins", "--check", "--quick"]) == 1
    assert "corelm-ours:sample has to be called so" in capsys.readouterr().err


def test_a_group_near_to_corelms_of_a_package_that_needs_corelm_is_named(
    installed_plugin: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CORELM_PLUGINS", "corelm-near")
    site = installed_plugin("corelm-near", {"a": "corelm_near"}, SAMPLER, group="corlm")
    [metadata] = site.glob("*.dist-info/METADATA")
    metadata.write_text(f"{metadata.read_text()}Requires-Dist: corelm>=0.1\n")
    assert main(["plugins", "--check", "--quick"]) == 1
    assert "is in the group corlm, which nothing reads" in capsys.readouterr().err


# What a class or a plugin can't have is refused when it is made.
REFUSED = {
    "kind: str = 'filter'": "X.kind hides an attribute of corelm.Sampler",
    "is_shift_invariant: bool = False": "X.is_shift_invariant hides an attribute",
    "async def __call__(self, logits, context): return logits": "is async and never runs",
    "name: str = 'cold'": "X.name hides an attribute",
    "def __call__(self, context, logits): return logits": r"write __call__\(self, logits, context",
}


@pytest.mark.parametrize("line", REFUSED)
def test_a_sampler_with_a_typed_attribute_or_swapped_arguments_is_refused(line: str) -> None:
    with pytest.raises(corelm.errors.PluginError, match=f"not a sampler: .*{REFUSED[line]}"):
        exec(f"class X(corelm.Sampler):\n    {CALL}\n    {line}\n", {"corelm": corelm})


@pytest.mark.parametrize(
    ("base", "method", "order"),
    [
        ("SetMetric", "figure(self, texts, tokens)", "figure(self, tokens, texts)"),
        ("SetMetric", "figure(self, texts)", "figure(self, tokens, texts)"),
        ("TextMetric", "of_text(self, text, tokens)", "of_text(self, tokens, text)"),
        ("HumanMetric", "compare(self, human, texts, model)", "compare(self, texts, human, model)"),
        ("SetMetric", "async figure(self, tokens, texts)", "async"),
        ("SetMetric", "meaning: str = ''", ""),
        ("TextMetric", "limits: tuple = (0, 1)", ""),
    ],
)
def test_a_metric_with_a_typed_attribute_or_swapped_arguments_is_refused(
    base: str, method: str, order: str
) -> None:
    line = method if ":" in method else f"def {method}: return 1".replace("def async", "async def")
    fault = f"write .*{re.escape(order)}" if order else "hides an attribute of corelm.Metric"
    with pytest.raises(corelm.errors.PluginError, match=f"not a metric: .*{fault}"):
        exec(f"class X(corelm.{base}):\n    {line}\n", {"corelm": corelm})


SCHEME = "@corelm.hookimpl\ndef corelm_models(): return {'a': corelm.ModelScheme(%s)}\n"
METRIC = "@corelm.hookimpl\ndef corelm_metrics(): return {'a': A}\n"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (f"{SAMPLER}def corelm_decoders(): return {{}}\n", "corelm_decoders is not marked with"),
        (SAMPLER.replace("def corelm_s", "async def corelm_s"), "never runs: write it without"),
        (f"async {OBSERVES[OBSERVES.index('def') :]}    pass\n", "corelm_next_token never runs"),
        (
            SAMPLER.replace(
                "Sampler):\n",
                "Sampler):\n    t: float = 1.0\n    s: float = corelm.param(1.0, aliases=('t',))\n",
            ),
            "not a sampler: A.t is declared twice",
        ),
        (SCHEME % "lambda: 1", "a is called with ('PATH'): too many positional arguments"),
        (SCHEME % "lambda path: 1, options=('device',)", "got an unexpected keyword argument"),
        (SCHEME % "lambda path, device=0: 1, options='device'", "options of a are 'device'"),
        (SCHEME.replace("corelm.ModelScheme(%s)", "lambda path: 1"), "called with (): missing a"),
        (
            f"class A(corelm.SetMetric, corelm.TextMetric):\n    {SAY}\n    {FIGURE}\n"
            f"    def of_text(self, tokens, text): return 1\n{METRIC}",
            "not a metric: a is of several kinds",
        ),
        (
            f"class A(corelm.SetMetric):\n    meaning = 'one\\ntwo'\n    {FIGURE}\n{METRIC}",
            "a has a meaning of 7 characters in 2 lines",
        ),
        (
            f"class A(corelm.SetMetric):\n    meaning = '{'word ' * 100}'\n    {FIGURE}\n{METRIC}",
            "a has a meaning of 500 characters in 1 lines; write one line of at most 150",
        ),
        (
            f"class A(corelm.SetMetric):\n    {SAY}\n    limits = 'ab'\n    {FIGURE}\n{METRIC}",
            "not a metric: the limits of a are 'ab'",
        ),
    ],
)
def test_a_plugin_that_offers_the_wrong_thing_is_set_aside(
    installed_plugin: Install,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: str,
    reason: str,
) -> None:
    monkeypatch.setenv("CORELM_PLUGINS", "corelm-refused")
    if code.startswith("async"):
        code = code.replace("async def", "@corelm.hookimpl\nasync def")
    installed_plugin("corelm-refused", {"a": "corelm_refused"}, f"import corelm\n{code}")
    assert main(["plugins", "--check", "--quick"]) == 1
    assert reason in " ".join(capsys.readouterr().out.split())


def test_an_async_command_is_refused(
    installed_plugin: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (
        "import corelm, typer\napp = typer.Typer()\n@app.command()\nasync def go(): pass\n"
        "@corelm.hookimpl\ndef corelm_commands(): return {'go': app}\n"
    )
    installed_plugin("corelm-go", {"go": "corelm_go"}, code, group="corelm.commands")
    assert main(["go"]) == 2
    assert "not a command: go is async and never runs" in capsys.readouterr().err
