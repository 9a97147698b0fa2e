"""Guidance: each method is its formula, under every sampler."""

import corelm_guidance
import numpy as np
import pytest
from corelm_guidance import Guidance, GuidedModel, PromptedModel, contrastive, experts

import corelm
from corelm import ParameterError
from corelm.testing import ToyModel, obeys_the_laws

SAMPLERS = ["stochastic", "temperature(t=0.5)", "repetition_penalty(penalty=1.3)", "top_k(k=2)"]
MODELS = {
    name: ToyModel(["a", "b", "c"], np.random.default_rng(seed).normal(size=(6, 6)) * 1.5)
    for seed, name in enumerate(("main", "weak", "good", "bad"))
}
CONTRASTIVE = Guidance(method="contrastive", amateur="weak")
CLASSIFIER_FREE = Guidance(negative="c b")
EXPERTS = Guidance(method="experts", expert="good", anti_expert="bad", weight=2)


@pytest.fixture(autouse=True)
def models(monkeypatch):
    """Make the models of this file available by name, next to corelm's."""
    monkeypatch.setattr(corelm_guidance, "load", lambda name: MODELS.get(name) or corelm.load(name))


@obeys_the_laws(Guidance(), CLASSIFIER_FREE, CONTRASTIVE, EXPERTS)
def test_law(decoder, law):
    law(decoder)


def nats(name, tokens):
    """The log-probabilities of the tokens that can be drawn: the end, a, b and c."""
    logits = MODELS[name].start([tokens]).next_logits()[0, 2:]
    return logits - np.log(np.exp(logits).sum())


def contrastive_formula(prompt, drawn):
    expert, amateur = nats("main", prompt + drawn), nats("weak", prompt + drawn)
    plausible = np.exp(expert) >= 0.1 * np.exp(expert.max())
    return np.where(plausible, expert - amateur, -np.inf)


def classifier_free_formula(prompt, drawn):
    other = nats("main", [5, 4, *drawn])
    return other + 1.5 * (nats("main", prompt + drawn) - other)


def experts_formula(prompt, drawn):
    text = prompt + drawn
    return nats("main", text) + 2 * (nats("good", text) - nats("bad", text))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    ("decoder", "formula"),
    [
        (CONTRASTIVE, contrastive_formula),
        (CLASSIFIER_FREE, classifier_free_formula),
        (EXPERTS, experts_formula),
    ],
    ids=lambda value: getattr(value, "method", ""),
)
def test_each_method_is_its_formula(decoder, formula, sampler):
    model, prompt, sampler = MODELS["main"], [3, 4], corelm.sampler(sampler)
    for sample in range(6):
        stream, drawn = corelm.RandomStream(2, [sample]), []
        for step in decoder(corelm.DecodingTask(model, np.array(prompt), sampler, stream, 6)):
            logits = np.concatenate([[-np.inf, -np.inf], formula(prompt, drawn)])
            expected = corelm.sampling_distribution(sampler, logits, prompt + drawn)
            assert step.distribution[0] == pytest.approx(expected, abs=1e-9)
            drawn += step.tokens.tolist()
        assert drawn


def test_the_plausibility_cut_by_hand():
    expert, amateur = np.log([[0.6, 0.3, 0.07, 0.03]]), np.log([[0.8, 0.1, 0.05, 0.05]])
    [scores] = contrastive(expert, amateur, alpha=0.1)
    # 0.06 is the bar: 0.6 / 0.8, 0.3 / 0.1 and 0.07 / 0.05 stay
    assert np.exp(scores) == pytest.approx([0.75, 3.0, 1.4, 0.0])
    assert (contrastive(expert, amateur, alpha=0.0) > -np.inf).all()
    assert (contrastive(expert, amateur, alpha=1.0) > -np.inf).tolist() == [[True] + [False] * 3]


@pytest.mark.parametrize(
    "decoder",
    [
        Guidance(weight=1),
        Guidance(method="experts", expert="good", anti_expert="bad", weight=0),
        Guidance(weight=4),  # without another prompt, the last token: all that the model looks at
    ],
)
def test_guidance_that_changes_nothing(decoder):
    options = {"sampler": "stochastic", "length": 12, "n": 5, "seed": 3}
    plain = corelm.generate(MODELS["main"], "c a b", **options)
    guided = corelm.generate(MODELS["main"], "c a b", decoder=decoder, **options)
    assert [text.tokens for text in guided] == [text.tokens for text in plain]


def test_impossible_tokens():
    """What the guided model excludes stays out; what another excludes counts as almost nothing."""
    table = {name: np.zeros(6) for name in ("base", "up", "down")}
    table["base"][3], table["up"][4], table["down"][[4, 5]] = -np.inf, -np.inf, -np.inf
    readings = [PromptedModel(ToyModel(["a", "b", "c"], logits)) for logits in table.values()]
    [p] = GuidedModel(readings, experts).next_token_distribution([[3]])
    assert p.tolist() == [0, 0, 0, 0, 0, 1]


def test_a_guided_model_works_with_any_decoder():
    readings = [PromptedModel(MODELS["main"]), PromptedModel(MODELS["weak"])]
    model = GuidedModel(readings, contrastive)
    options = {"sampler": "stochastic", "length": 8, "n": 4, "seed": 1}
    texts = corelm.generate(model, "a b", **options)
    same = corelm.generate(MODELS["main"], "a b", decoder=CONTRASTIVE, **options)
    assert [text.tokens for text in texts] == [text.tokens for text in same]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"method": "contrastive"}, "amateur must be the name or path of a model, not ''"),
        ({"method": "experts", "expert": "good"}, "anti_expert must be the name or path"),
        ({"amateur": "weak"}, "amateur is no parameter of the method classifier_free; it has: neg"),
        ({"method": "guess"}, "method must be one of contrastive, classifier_free, experts"),
        ({"weight": -1}, "weight must be at least 0"),
    ],
)
def test_parameters_that_do_not_fit(parameters, message):
    with pytest.raises(ParameterError, match=message):
        Guidance(**parameters)


def test_a_model_with_another_vocabulary():
    decoder = Guidance(method="contrastive", amateur="imdb")
    with pytest.raises(ParameterError, match="amateur must be a model with the same vocabulary"):
        corelm.generate(MODELS["main"], "a", sampler="greedy", decoder=decoder)
