"""The targets of matching, and the one number that an expression leaves open."""

from __future__ import annotations

import pytest
from corelm_report.plan.targets import FreeParameter, Target, precision

from corelm import Sampler, hookimpl, param
from corelm.errors import UnknownNameError, UsageError
from corelm.registry.registry import registry


@pytest.mark.parametrize(
    ("text", "target", "written"),
    [
        ("entropy=3", Target("entropy", 3.0), "entropy=3"),
        (" mass_kept = 0.90 ", Target("mass_kept", 0.9), "mass_kept=0.9"),
        ("mass_kept=1", Target("mass_kept", 1.0), "mass_kept=1"),
        ("mass_kept=0", Target("mass_kept", 0.0), "mass_kept=0"),
        ("tokens_kept=1.5e3", Target("tokens_kept", 1500.0), "tokens_kept=1500"),
        ("surprisal=2", Target("expected_surprisal", 2.0), "expected_surprisal=2"),
        ("surprisal=human", Target("expected_surprisal", None), "expected_surprisal=human"),
    ],
)
def test_a_target_is_read_and_written(text, target, written):
    assert Target.read(text) == target
    assert str(target) == written
    assert Target.read(written) == target


FORM = "write FIGURE=NUMBER, such as entropy=3 or mass_kept=0.9, or surprisal=human"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("entropy", f"cannot read the target 'entropy'; {FORM}"),
        (3, f"cannot read the target 3; {FORM}"),
        ("entropi=3", "'entropi' cannot be matched; did you mean 'entropy'?"),
        ("xyz=3", "'xyz' cannot be matched; the figures are: surprisal, entropy, "),
        ("entropy=3=4", "entropy must be a number or 'human', not '3=4'"),
        ("entropy=-0.1", "entropy must be at least 0, not -0.1"),
        ("entropy=inf", "entropy must be at least 0, not inf"),
        ("entropy=nan", "entropy must be at least 0, not nan"),
        ("mass_kept=1.01", "mass_kept must be between 0 and 1, not 1.01"),
        ("mass_kept=human", "the mass_kept of human text is not known; only surprisal can be "
         "matched to it, and every figure to a number"),
        ("entropy=human", "human text has no entropy under a model, only a surprisal: use "
         "surprisal=human"),
    ],
)  # fmt: skip
def test_anything_else_is_refused(text, message):
    with pytest.raises(UsageError) as refused:
        Target.read(text)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("figure", "value", "words", "expected"),
    [
        ("entropy", 3.0, 100, (0.01, 0.002)),
        ("varentropy", 3.0, 100, (0.01, 0.002)),
        ("mass_kept", 0.9, 100, (0.002, 0.0005)),
        ("tokens_kept", 50.0, 100, (0.5, 0.1)),
        ("tokens_kept", 0.5, 100, (0.01, 0.002)),
        ("human_recall", 0.9, 100, (0.01, 0.0005)),  # one word in a hundred
        ("human_recall", 0.9, 10_000, (0.002, 0.0005)),
    ],
)
def test_how_closely_a_target_is_met(figure, value, words, expected):
    assert precision(figure, value, words) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("expression", "value", "sampler"),
    [
        ("temperature", 0.5, "temperature(t=0.5)"),
        ("top_p", 0.5, "top_p(p=0.5)"),
        ("top_k", 7, "top_k(k=7)"),
        ("mirostat(eta=0.3)", 2.0, "mirostat(tau=2.0, eta=0.3)"),
        ("mirostat(3)", 0.2, "mirostat(tau=3.0, eta=0.2)"),
        ("repetition_penalty", 1.5,
         "repetition_penalty(penalty=1.5, last=0, skip_prompt=False, normalised=False)"),
        ("repetition_penalty(last=9)", 2,
         "repetition_penalty(penalty=2.0, last=9, skip_prompt=False, normalised=False)"),
        ("top_k(k=50) | temperature | min_p(p=0.1)", 0.5,
         "top_k(k=50) | temperature(t=0.5) | min_p(p=0.1)"),
        ("greedy | top_p", 0.5, "greedy | top_p(p=0.5)"),
        ("schedule(first=top_k(k=3) | temperature, last=greedy, over=9)", 0.5,
         "schedule(first=top_k(k=3) | temperature(t=0.5), last=greedy, over=9, shape='linear')"),
        ("schedule(temperature, over=9)", 0.5,
         "schedule(first=temperature(t=0.5), last=stochastic, over=9, shape='linear')"),
        ("greedy | phase(inside=schedule(first=greedy, last=top_p, over=9))", 0.5,
         "greedy | phase(start='<think>', end='</think>', inside=schedule(first=greedy, "
         "last=top_p(p=0.5), over=9, shape='linear'), outside=stochastic)"),
    ],
)  # fmt: skip
def test_the_number_that_is_left_out(expression, value, sampler):
    assert str(FreeParameter.of(expression).at(value)) == sampler


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("greedy", "greedy leaves no number open"),
        ("temperature(t=0.5)", "leaves no number open"),
        ("temperature(temperature=0.5)", "leaves no number open"),
        ("repetition_penalty(penalty=2)", "leaves no number open"),
        ("mirostat", "mirostat leaves tau and eta open; give all of them except one"),
        ("temperature | top_k", "leaves t and k open"),
        ("phase(inside=top_p, outside=temperature)", "leaves p and t open"),
        ("schedule(first=greedy, last=top_p)", "leaves over and p open"),
        ("phase(inside=top_p(p=0.5))", "leaves no number open"),
    ],
)
def test_none_or_several(expression, fault):
    with pytest.raises(UsageError, match=fault):
        FreeParameter.of(expression)


def test_an_unknown_name():
    with pytest.raises(UnknownNameError, match="did you mean 'top_p'"):
        FreeParameter.of("topp")


@pytest.fixture
def ranges():
    """A sampler for each kind of range that a number can have."""

    class Ranged(Sampler):
        free: float = param(0.0)

        def __call__(self, logits, context):
            return logits

    class Below(Ranged):
        free: float = param(0.0, lt=1)

    class Open(Ranged):
        free: float = param(0.5, gt=0, lt=1)

    class Whole(Ranged):
        free: int = param(3, ge=2, le=6)

    class Plugin:
        @staticmethod
        @hookimpl
        def corelm_samplers():
            return {cls.name: cls for cls in (Ranged, Below, Open, Whole)}

    registry.cache_clear()
    registry().register(Plugin)
    yield
    registry.cache_clear()


def values(expression):
    return FreeParameter.of(expression).values()


def test_values_go_from_one_end_of_the_range_to_the_other(ranges):
    for expression, least, most in (
        ("top_p", 0, 1),
        ("temperature", 0, 1e6),
        ("top_k", 0, 1e6),
        ("below", 1 - 1e6, 1 - 1e-3),
        ("open", 1e-6, 1 - 1e-6),
        ("ranged", -1e6, 1e6),
    ):
        found = values(expression)
        assert found == sorted(set(found))
        assert (found[0], found[-1]) == (least, most)
        assert len(found) > 12
    assert values("whole") == [2, 3, 4, 5, 6]


def test_between_two_values():
    p, k = FreeParameter.of("top_p"), FreeParameter.of("top_k")
    assert p.between(0.2, 0.4, 0.25) == pytest.approx(0.25)
    assert p.between(0.4, 0.2, 0.25) == pytest.approx(0.35)
    assert p.between(0.2, 0.2, 0.5) is None
    assert k.between(3, 9, 0.01) == 4
    assert k.between(3, 9, 0.99) == 8
    assert k.between(3, 4, 0.5) is None


def test_shorter_numbers_come_first_and_keep_the_rule():
    p = FreeParameter.of("top_p")
    assert list(p.rounded(0.98765))[:4] == [1.0, 0.99, 0.988, 0.9877]
    assert next(FreeParameter.of("eta").rounded(0.98765)) == 0.99  # 1 is not below 1
    assert list(FreeParameter.of("top_k").rounded(93))[:2] == [90, 93]
