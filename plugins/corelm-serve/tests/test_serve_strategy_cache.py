"""Strategies that requests share."""

import pytest
from corelm_serve import endpoints, prepare
from corelm_serve.prepare import StrategyCache
from corelm_serve.requests import sampling
from corelm_serve.requests.completion import CompletionRequest
from serve_client import ToyModel, sample

from corelm import from_settings
from corelm.runs import Strategy

MODEL = ToyModel(end=False)
CHAIN = {"prompt": "the", "sampler": "top_k(k=3) | temperature(t=0.5)"}


@pytest.fixture
def built(monkeypatch):
    """Return the settings of the strategies that are built."""
    found, build = [], prepare.strategy_of

    def noted(request, rest):
        found.append(request.sampler or request.temperature)
        return build(request, rest)

    monkeypatch.setattr(prepare, "strategy_of", noted)
    return found


def test_equal_requests_share_a_strategy_and_differ_in_all_else(open_client, built):
    client = open_client({"toy": MODEL})
    texts = [
        client.complete(**CHAIN, seed=seed, max_tokens=length)["choices"][0]["text"]
        for seed, length in ((1, 3), (2, 6), (1, 6))
    ]
    assert built == [CHAIN["sampler"]]
    assert texts == [
        sample(MODEL, "the", sampler=CHAIN["sampler"], seed=seed, length=length)[0]
        for seed, length in ((1, 3), (2, 6), (1, 6))
    ]
    assert len({*texts}) == 3


def test_equal_numbers_of_other_types_have_their_own(client, built):
    for t in (2, 2.0, 2):
        client.complete(temperature=t, seed=1)
    assert [*map(repr, built)] == ["2", "2.0"]


@pytest.mark.parametrize(
    "body",
    [
        {"logit_bias": {"5": 1.0}},
        {"banned_strings": "cat"},
        {"response_format": {"type": "json_object"}},
        {"sampler": "json_schema(schema='{}')"},
        {"mirostat": 2},
        {"temperature": "1" * 1000},
    ],
)
def test_settings_that_are_not_plain_are_not_kept(body):
    assert StrategyCache.key_of({"prompt": "the", **body}) is None
    assert not StrategyCache().knows(None)


def test_an_error_is_not_kept(client, built):
    for _ in range(2):
        assert client.refused(sampler="top_k(k=-2)")[0] == 400
    assert len(built) == 2


def test_the_least_recently_used_strategy_is_dropped(client, built, monkeypatch):
    monkeypatch.setattr(prepare, "KEPT", 2)
    for t in (0.1, 0.2, 0.1, 0.3, 0.1, 0.2):
        client.complete(temperature=t, max_tokens=1)
    assert built == [0.1, 0.2, 0.3, 0.2]


def test_a_known_request_is_prepared_without_a_thread(client, monkeypatch):
    calls, in_thread = [], endpoints.in_thread

    async def noted(*arguments):
        calls.append(arguments[1])
        return await in_thread(*arguments)

    monkeypatch.setattr(endpoints, "in_thread", noted)
    for _ in range(3):
        client.complete(**CHAIN, max_tokens=1)
    assert calls == [endpoints.completion_call]
    client.complete(**{**CHAIN, "prompt": "the cat " * 200}, max_tokens=1)  # takes longer to read
    assert len(calls) == 2


def test_a_request_without_settings_reads_no_engines_table_and_has_its_defaults(monkeypatch):
    request, rest = CompletionRequest.read_part({"model": "toy", "prompt": "the"})
    expected = from_settings({}, sampling.ENGINE).sampler
    monkeypatch.delattr(sampling, "from_settings")
    found, notes = sampling.strategy_of(request, rest)
    assert (found, notes) == (Strategy(expected), {})
    assert str(found.sampler) == str(expected) == "stochastic"
