"""Strategies that requests share: counted by a sampler that notes each time it is built."""

import pytest
from serve_client import ToyModel, sample

import corelm
from corelm import param
from corelm.runs import plugins

MODEL = ToyModel(end=False)


class Noted(corelm.Sampler):
    """Change nothing; note each sampler that is built."""

    t: float = param(0.0, "tells one from another", ge=0)
    built = []

    def __post_init__(self):
        super().__post_init__()
        self.built.append(self.t)

    def __call__(self, logits, context):
        return logits


class NotingPlugin:
    """Offers the sampler."""

    @staticmethod
    @corelm.hookimpl
    def corelm_samplers():
        return {"noted": Noted}


@pytest.fixture
def built():
    """Return the parameters of the samplers that are built."""
    if "noted" not in {offer.name for offer in plugins.registry().offers("corelm_samplers")}:
        plugins.registry().register(NotingPlugin)
    Noted.built.clear()
    return Noted.built


def test_equal_requests_share_a_strategy_and_differ_in_all_else(open_client, built):
    client = open_client({"toy": MODEL})
    asked = [(1, 3), (2, 6), (1, 6)]
    texts = [
        client.complete(sampler="noted(t=1)", seed=seed, max_tokens=length)["choices"][0]["text"]
        for seed, length in asked
    ]
    assert built == [1]
    assert texts == [
        sample(MODEL, "the", sampler="stochastic", seed=seed, length=length)[0]
        for seed, length in asked
    ]
    assert len({*texts}) == 3


def test_an_error_is_not_kept(client, built):
    for _ in range(2):
        assert client.refused(sampler="noted(t=2) | top_k(k=-2)")[0] == 400
    assert built == [2, 2]


@pytest.mark.parametrize("field", ["tokens", "add_special_tokens", "return_token_strs"])
def test_a_field_of_tokenize_is_refused_beside_a_known_strategy(client, field):
    client.complete(max_tokens=1)
    # True is what vLLM does by default with completions, so only False is refused there.
    status, error = client.refused(max_tokens=1, **{field: field != "add_special_tokens"})
    assert (status, error["param"]) == (400, field)


@pytest.mark.parametrize("more", [{"logit_bias": {"5": 1.0}}, {"banned_strings": "cat"}])
def test_settings_that_are_not_plain_are_not_kept(client, built, more):
    if "banned_strings" in more:
        pytest.importorskip("corelm_backtrack", reason="pip install ./plugins/corelm-backtrack")
        more |= {"sampler": "noted(t=3)"}
    for _ in range(2):
        client.complete(max_tokens=1, **more)
    assert built == ([3, 3] if "sampler" in more else [])


def test_the_least_recently_used_of_256_strategies_is_dropped(client, built):
    for t in (0, *range(256), 0, 256, 0, 1):
        client.complete(sampler=f"noted(t={t})", max_tokens=1)
    assert built == [*range(257), 1]
