"""The evidence for the verdict of a report is right for any set of samplers."""

from __future__ import annotations

import textwrap

import pytest
from documents import NOTHING, compare, typed

import corelm

HUMAN = {
    "same_places": True,
    "compared": True,
    "teacher_forced": None,
    "generated_texts": {"surprisal": 4.2},
}
HUMAN_WITH_INTERVAL = HUMAN | {
    "generated_texts": {"surprisal": 4.2, "ci95": {"surprisal": [4.0, 4.4]}}
}
FAILED = {
    "error": {"type": "SamplerError", "message": "x"},
    "teacher_forced": None,
    "generated_texts": None,
}


def evidence(document):
    return corelm.Report.of_document(document).evidence


def verdict(document):
    whole = typed(document) if isinstance(document, dict) else document
    return corelm.Report.of_document(whole).summary


def figures(**own):
    """A row with these figures of its own texts, 64 unless `n` says otherwise, and nothing else."""
    return {"error": None, "teacher_forced": None, "generated_texts": {"n": 64} | own}


def test_empty_texts_are_counted(rows):
    texts = {"a": figures(n=64, texts_used={"surprisal": 61}), "b": figures(n=64)}
    assert "3 of 64 texts of a are empty." in verdict(rows(None, **texts))
    texts["b"] = figures(n=64, texts_used={"surprisal": 60})
    assert "3 of 64 texts of a and 4 of 64 texts of b are empty." in verdict(rows(None, **texts))


def test_nothing_stands_out_only_where_it_was_tested(rows):
    one, two = rows(None, a=on_contexts(9)), rows(None, a=on_contexts(9), b=on_contexts(9))
    few = "There are too few independent texts to tell"
    assert verdict(with_excess(two, a=[4.0, 6.0], b=[0.0, 6.0])).startswith("a is too random. ")
    assert verdict(with_excess(two, a=[0.0, 6.0], b=None)).startswith(f"{few} which sampler is")
    assert verdict(with_excess(one, a=None)).startswith(f"{few} whether a is too random.")
    assert verdict(with_excess(one, a=[0.0, 6.0])).startswith("a does not stand out.")
    assert verdict(with_excess(two, a=[0.0, 6.0], b=[0.0, 6.0])).startswith("No sampler stands out")


def test_one_sampler_that_differs_from_human_text_is_said_to(rows):
    document = rows(HUMAN, a=figures(surprisal=1.5))
    assert verdict(with_closest(document, a=[-3.0, -2.0])).startswith("a differs from human text.")
    assert verdict(with_closest(document, a=[-3.0, 2.0])).startswith("a does not stand out.")


def test_unlikely_tokens_without_much_entropy_are_not_called_random(rows):
    """A sampler that copies its prompt has an entropy of 0, and surprises the model."""
    document = rows(None, a=on_contexts(9), b=on_contexts(9))
    document["samplers"][0]["teacher_forced"]["entropy"] = {"mean": 0.0}
    said = verdict(with_excess(document, a=[4.0, 6.0], b=[4.0, 6.0]))
    assert said.startswith("b is too random; a writes unlikely tokens.")


def on_contexts(expected, model=4.0, **own):
    """A row with these figures on the same contexts."""
    same = {"expected_surprisal": expected, "model_entropy": model}
    return {"error": None, "teacher_forced": same, "generated_texts": own}


def with_excess(document, **intervals):
    """The report with these intervals of the excess over the usual surprisal."""
    document["excess"] = [
        {"sampler": name, "figure": "expected_surprisal", "value": 0.0, "interval": each}
        for name, each in intervals.items()
    ]
    return typed(document)


def with_closest(document, **ends):
    """The report with these rows closest, and these ends of their differences from human text."""
    document["closest"] = [name for name, each in ends.items() if each is not None]
    document["simultaneous"] = [
        {"sampler": name, "figure": "surprisal", "value": 0.0, "interval": each}
        for name, each in ends.items()
    ]
    return typed(document)


AT_99 = "(at 99%, with the error of human text)"
EQUIVALENT = "equivalent to human text in mean surprisal within 0.10 nats"


def test_the_closest_to_human_text(rows):
    document = rows(HUMAN, a=figures(surprisal=1.5), b=figures(surprisal=4.0))
    assert evidence(with_closest(document, a=None, b=[-0.3, -0.12])) == (
        f"Only b may be the closest to human text by surprisal: 4.00 against 4.20 nats per token "
        f"{AT_99}. b differs from human text in mean surprisal by more than 0.10 nats (interval of "
        "the difference: \N{MINUS SIGN}0.30 to \N{MINUS SIGN}0.12, at 99%)."
    )


def test_the_closest_may_be_several_that_cannot_be_told_apart(rows):
    """Each has its number, even if two are the same."""
    document = rows(
        HUMAN,
        **{n: figures(surprisal=x) for n, x in zip("abcd", (4.1, 4.25, 4.1, 9), strict=False)},
    )
    ends = {"a": [-0.2, -0.05], "b": [-0.02, 0.09], "c": [-0.3, 0.1]}
    assert evidence(with_closest(document, **ends)) == (
        "a, b and c cannot be told from the closest to human text by surprisal: 4.10, 4.25 and "
        f"4.10 against 4.20 nats per token {AT_99}. b is {EQUIVALENT} (interval of the difference: "
        "\N{MINUS SIGN}0.02 to 0.09, at 99% for all 3 rows at once). Whether a and c are "
        f"{EQUIVALENT} cannot be told (intervals of the differences, together: "
        "\N{MINUS SIGN}0.3 to 0.1, at 99% for all 3 rows at once)."
    )


def test_beyond_the_margin_and_unclear_are_different_statements(rows):
    document = rows(HUMAN, **{name: figures(surprisal=4.1) for name in "abc"})
    ends = {"a": [-0.3, -0.11], "b": [0.101, 0.3], "c": [-0.2, -0.1]}
    said = evidence(with_closest(document, **ends))
    assert "a and b differ from human text in mean surprisal by more than 0.10 nats" in said
    assert f"Whether c is {EQUIVALENT} cannot be told (interval of the difference" in said


def test_one_row_alone_is_not_called_the_closest(rows):
    document = rows(HUMAN, a=figures(surprisal=4.1))
    assert evidence(with_closest(document, a=[-0.09, 0.05])) == (
        "The texts of a have 4.10 nats of surprisal per token, human text 4.20. a is "
        f"{EQUIVALENT} (interval of the difference: \N{MINUS SIGN}0.09 to 0.05, at 99%)."
    )


def test_a_hundred_settings_are_named_as_one_run(rows):
    """Before, 100 names of up to 16 digits each."""
    settings = [t * 0.01 + 0.5 for t in range(100)]
    names = [f"temperature(t={t})" for t in settings]
    document = rows(HUMAN, **{name: figures(surprisal=4.1) for name in names})
    said = evidence(with_closest(document, **{key: [-0.05, 0.05] for key in names}))
    assert said.startswith(
        "temperature(t=0.5 to 1.49) cannot be told from the closest to human text by surprisal: "
        "4.10 against 4.20"
    )
    assert f"temperature(t=0.5 to 1.49) are {EQUIVALENT} (intervals of the differences" in said
    assert len(said) < 500


def test_of_many_unlike_names_the_first_ones_are_listed(rows):
    names = [f"s{chr(97 + i)}" for i in range(20)]
    document = rows(HUMAN, **{name: figures(surprisal=4.1) for name in names})
    said = evidence(with_closest(document, **{key: [-0.05, 0.05] for key in names}))
    assert said.startswith("sa, sb, sc, sd, se, sf, sg, sh and 12 others cannot be told")


def test_too_few_texts_are_a_sentence_and_no_closest_row(rows):
    document = rows(HUMAN_WITH_INTERVAL, a=figures(surprisal=1.5), b=figures(surprisal=4.0))
    document["too_few"] = ["a", "b"]
    assert evidence(typed(document)) == ""
    assert verdict(document).startswith("It takes 32 texts to tell which sampler is closest to ")
    document["too_few"] = ["a"]
    said = evidence(with_closest(document, b=[-0.3, 0.3]))
    assert "a wrote fewer than 8 independent texts, too few for this comparison." in said
    for row in document["samplers"]:
        row["generated_texts"]["units"] = 31
    document["header"] = NOTHING["header"] | {"prompts": [*map(str, range(31))], "n": 2}
    assert evidence(typed(document)) == ""
    assert verdict(document).startswith("It takes 32 prompts to tell which sampler is closest to ")


def test_texts_of_another_length_than_human_text_are_not_closest(rows):
    document = rows(HUMAN_WITH_INTERVAL, **{name: figures(surprisal=4.1) for name in "abc"})
    document |= {"too_short": ["a"], "too_long": ["b"]}
    said = verdict(with_closest(document, c=[-0.3, 0.1]))
    assert said.startswith(
        "Texts of a are too short to compare with human text. Texts of b are too"
    )
    said = evidence(with_closest(document, c=[-0.3, 0.1]))
    assert said.startswith("The texts of c have 4.10 nats of surprisal per token, human text 4.2.")
    assert (
        "Texts of a have less than half as many tokens as human texts. Texts of b have over" in said
    )


def test_too_few_human_texts_are_a_sentence(rows):
    document = rows(HUMAN, a=figures(surprisal=1.5), b=figures(surprisal=4.0))
    assert verdict(document).startswith("It takes 32 human texts to tell which sampler is closest")


@pytest.mark.parametrize("count", [2, 8, 40])
def test_a_verdict_has_three_lines_at_most(rows, count):
    """Each of 40 rows was named, in up to six lines."""
    names = [f"top_k(k={k + 2}) | typical(p=0.{k + 10})" for k in range(count)]
    often = {name: figures(surprisal=4.1, rep_4=0.5, loops=0.5) for name in names[1::2]}
    document = rows(HUMAN_WITH_INTERVAL, **dict.fromkeys(names[::2], FAILED), **often)
    document["closest"] = [*often]
    said = verdict(document)
    assert len(textwrap.wrap(said, 80, break_on_hyphens=False)) <= 3
    assert said.count("typical") == {2: 2, 8: 1, 40: 1}[count]
    assert said.endswith(", compared with human text at the same positions.")


@pytest.mark.parametrize(
    ("beyond", "says"),
    [
        ("above", "more surprising to the model than a token drawn at a temperature of 10.00, the "
                  "highest one that was tried."),
        ("below", "The maximum-likelihood temperature of human text is not determined."),
        ("undetermined", "The maximum-likelihood temperature of human text is not determined."),
    ],
)  # fmt: skip
def test_a_temperature_that_the_curve_does_not_have(rows, beyond, says):
    document = rows(HUMAN | {"temperature": {"surprisal": 4.0, "beyond": beyond}}, a=figures())
    document["curve"] = {"t": [0.5, 10.0], "entropy": [], "slope": [], "surprisal": []}
    assert says in evidence(typed(document))


def test_without_human_text_nothing_is_closest(rows):
    assert evidence(typed(rows(None, a=figures(surprisal=1.5)))) == ""


def test_repetition_and_loops(rows):
    document = rows(
        None,
        a=figures(rep_4=0.5, loops=0.735),
        b=figures(rep_4=0.1, loops=0.0),
        c=figures(rep_4=0.02, loops=0.015),
        d=figures(rep_4=0.0, loops=0.009),
    )
    assert evidence(typed(document)) == (
        "a (50.0% of 4-grams) and b (10.0% of 4-grams) repeat themselves. "
        "a (73.5% of texts) and c (1.5% of texts) end in loops (the intervals begin at 1.5%, at "
        "99% for all 4 rows at once)."
    )
    for each in document["samplers"]:  # too few texts for an interval, as of one text
        each["generated_texts"]["ci95"] = {"rep_4": None, "loops": None}
    assert evidence(typed(document)) == ""


def test_only_a_sampler_that_always_writes_the_same_text_repeats_itself_in_one_text():
    """A text each of four prompts said so of any sampler, without an interval."""
    for sampler, n in (("greedy", 9), ("temperature(t=0.01)", 1)):
        found = compare([sampler], prompts=["the", "a", "cat", "dog"], n=n, length=12)
        [repeated] = [each for each in found["shares"] if each["figure"] == "rep_4"]
        assert repeated["value"] > 0.1
        assert repeated["interval"] == (None if n == 1 else [repeated["value"]] * 2)
        assert ("repeats itself" in evidence(typed(found))) == (n > 1)


def test_a_share_within_its_error_of_the_usual_one_is_no_loop(rows):
    """One looping text of 64 has an interval from 0.3 %, which people's texts have."""
    document = rows(None, a=figures(loops=1 / 64, rep_4=0.2), b=figures(loops=0.5, rep_4=0.3))
    for row, loops, repeated in zip(
        document["samplers"], ([0.003, 0.083], [0.38, 0.62]), ([0.05, 0.4], [0.2, 0.4]), strict=True
    ):
        row["generated_texts"]["ci95"] = {"loops": loops, "rep_4": repeated}
    assert evidence(typed(document)) == (
        "b (30% of 4-grams) repeats itself. "
        "b (50% of texts) ends in loops (the interval begins at 38%, at 99% "
        "for both rows at once)."
    )


def test_sampling_from_the_tail(rows):
    """Its interval must be above 1 nat; before, the mean alone was enough."""
    document = rows(
        None, a=on_contexts(4.0), b=on_contexts(5.2), c=on_contexts(5.3), d=on_contexts(9)
    )
    ends = {"a": [0.0, 0.0], "b": [0.9, 1.5], "c": [1.1, 1.5], "d": [4.0, 6.0], "e": None}
    assert evidence(with_excess(document, **ends)) == (
        "c and d sample from the tail (expected surprisal 5.30 and 9.00 nats, the model's own "
        "4.00; the intervals begin 1.10 nats above it, at 99% for all 5 rows at once)."
    )
    assert evidence(with_excess(document, d=None)) == ""


def test_neighbouring_settings_of_a_sweep_are_named_as_one(rows):
    settings = {
        f"temperature(t={t / 10})": {
            "teacher_forced": {"expected_surprisal": t / 2, "model_entropy": 3.0},
            "generated_texts": {"rep_4": 0.5 / t, "loops": 0.0},
        }
        for t in range(1, 21)
    }
    excess = {name: [1.2, 3.0] for name in settings if float(name[14:-1]) >= 0.9}
    said = evidence(with_excess(rows(**settings), **excess))
    assert "temperature(t=0.1 to 0.5) (10.0% to 50.0% of 4-grams) repeat themselves." in said
    assert (
        "temperature(t=0.9 to 2.0) sample from the tail (expected surprisal 4.50 to 10.00" in said
    )
    assert said.count("temperature(") == 2


def test_a_setting_between_them_divides_a_run(rows):
    settings = {
        f"top_k(k={k}) | temperature(t=1.0)": {"generated_texts": {"rep_4": share, "loops": 0.0}}
        for k, share in ((1, 0.5), (2, 0.4), (5, 0.3), (9, 0.0), (20, 0.2), (50, 0.2))
    }
    said = evidence(typed(rows(**settings)))
    assert "top_k(k=1 to 5) | temperature(t=1.0) (30.0% to 50.0% of 4-grams) and " in said
    assert " and top_k(k=20 and 50) | temperature(t=1.0) (20.0% of 4-grams) repeat" in said


def test_the_best_setting_of_a_sweep_is_corrected_for_the_choice(rows):
    document = rows(None, **{name: figures(surprisal=1.0) for name in "abcdef"})
    for row in document["samplers"]:
        row.update(name="temperature", sweep="temperature(t=1..6/6)")
    best = {"name": "temperature", "sampler": "c", "tried": 6, "corrected": 4.126,
            "figure": "surprisal", "target": 4.2,
            "ci95": [4.0, 4.251]}  # fmt: skip
    document["best"] = [best, {**best, "name": "top_p"}, {**best, "ci95": None}]
    assert evidence(typed(document)) == (
        "Of 6 settings of temperature, c comes nearest to human text in this sample, with 4.13 "
        "(95% interval 4.00 to 4.25) nats, corrected for the choice."
    )


def test_one_alone_is_in_the_singular(rows):
    document = rows(None, a=on_contexts(9, rep_4=0.5, loops=0.5), b=FAILED)
    assert evidence(with_excess(document, a=[4.5, 5.5])) == (
        "a (50.0% of 4-grams) repeats itself. a (50.0% of texts) ends in loops (the interval "
        "begins at 50.0%, at 99%). a samples from the tail (expected surprisal 9.00 nats, the "
        "model's own 4.00; the interval begins 4.50 nats above it, at 99%)."
    )


@pytest.mark.parametrize(
    ("samplers", "says"),
    [
        ({}, "No sampler was measured."),
        ({"a": FAILED}, "Every sampler failed."),
        ({"a": FAILED, "b": FAILED}, "Every sampler failed."),
        (
            {"a": figures(surprisal=None, loops=None, rep_4=None)},
            "a does not stand out. Measured ",
        ),
    ],
)
def test_reports_without_figures(rows, samplers, says):
    for human in (HUMAN, None):
        document = rows(human, **samplers)
        assert evidence(typed(document)) == ""
        assert verdict(document).startswith(says)


def test_the_evidence_of_a_whole_report(made):
    """A report of few texts says nothing of the closest, as its verdict asks for 32."""
    text = evidence(typed(made))
    assert text.startswith("The maximum-likelihood temperature of human text is 0.8 (95%")
    assert [entry.label for entry in typed(made).entries] == [
        "human", "greedy", "temperature(t=0.5)", "uniform",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("judged", "ends", "says"),
    [
        (
            "underconfident",
            [0.9906, 0.9965],
            "0.994 (95% interval 0.991 to 0.997): the model is underconfident (at 99%",
        ),
        (
            None,
            [0.9906, 0.9996],
            "0.9951 (95% interval 0.9906 to 0.9996); at 99% it cannot be told from",
        ),
        (
            None,
            [0.98, 1.01],
            "0.99 (95% interval 0.98 to 1.01), which includes the model's own, 1",
        ),
    ],
)
def test_a_verdict_on_the_model_is_at_the_level_of_all_statements(rows, judged, ends, says):
    t = sum(ends) / 2
    fit = {"surprisal": 4.0, "ci95": None, "t": t, "t_ci95": ends, "estimated": False}
    human = {**HUMAN, "temperature": fit | ({"verdict": judged} if judged else {})}
    assert says in evidence(typed(rows(human, a=figures(surprisal=1.0))))
