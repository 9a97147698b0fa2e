"""The picture of the live page, and the band of human text."""

import io
import math

import pytest
from serve_client import next_word

import corelm
from corelm.runs import NamedModel
from corelm.testing import ToyModel

MANIFESTS = [
    None,
    {},
    {"figures": []},
    {"figures": {"human": {"surprisal": "4"}}},
    {"figures": {"human": {"surprisal": math.nan}}},
    {"figures": {"human": {"surprisal": True, "ci95": {"surprisal": [0, 1]}}}},
    {"figures": {"human": {"surprisal": 4, "ci95": {"surprisal": [5, 6]}}}},
    {"figures": {"human": {"surprisal": 4, "ci95": {"surprisal": ["<b>", 6]}}}},
]


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_without_figures_of_human_text_there_is_no_band(manifest):
    model = ToyModel()
    model.manifest = manifest
    assert NamedModel(model).human_surprisal is None


def test_the_band_is_the_one_of_the_reports(open_client):
    client = open_client({"imdb": corelm.load("imdb")})
    found = next_word(client, sampler="greedy")["human"]
    report = corelm.compare("imdb", ["greedy"], n=1, length=3).to_dict()
    shown = report["reference"]["teacher_forced"]
    assert found["mean"] == shown["surprisal"]
    assert [found["low"], found["high"]] == shown["ci95"]["surprisal"]


PICTURE = {"prompt": "the", "sampler": "top_k(k=4) | temperature(t=0.5)", "count": 3}


@pytest.mark.parametrize(
    ("form", "kind", "begins"),
    [
        ("svg", "image/svg+xml", b"<?xml"),
        ("pdf", "application/pdf", b"%PDF"),
        ("png", "image/png", b"\x89PNG"),
    ],
)
def test_a_picture_is_the_one_of_corelm_plot(client, form, kind, begins):
    reply = client.post("/api/picture", json=PICTURE | {"form": form, "tokens": [4, 5]})
    assert reply.status_code == 200
    assert reply.headers["content-type"] == kind
    assert reply.content.startswith(begins)
    if form == "png":  # the others have times and random names in them
        expected = corelm.explain(ToyModel(), "the", PICTURE["sampler"], after=[4, 5])
        written = io.BytesIO()
        corelm.plot.explanation(expected, top=3).savefig(written, format="png", dpi=216)
        assert reply.content == written.getvalue()


def test_a_picture_of_a_chain_that_fails_is_refused_and_one_that_hangs_given_up(open_client):
    client = open_client(stall=0.6)
    failed = client.post("/api/picture", json={"prompt": "the", "sampler": "raises(at=0)"})
    assert failed.status_code == 500
    assert "raises(at=0) failed" in failed.json()["error"]["message"]
    late = client.post("/api/picture", json={"prompt": "the", "sampler": "hangs(seconds=2.0)"})
    assert late.status_code == 503
    assert next_word(client, sampler="greedy")["drawn"] is not None
