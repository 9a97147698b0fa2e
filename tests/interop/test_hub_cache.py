"""The cache of Hugging Face: models of other engines, found without a download."""

from __future__ import annotations

import pytest

from corelm.errors import UnknownNameError
from corelm.interop import check_hub_model, hub_models


@pytest.fixture
def cache(monkeypatch, tmp_path):
    pytest.importorskip("huggingface_hub", reason="pip install huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name, weights in {"someone--small": "model.safetensors", "old": "model.bin"}.items():
        snapshot = tmp_path / f"models--{name}" / "snapshots" / "0123"
        snapshot.mkdir(parents=True)
        (snapshot / weights).touch()
    return tmp_path


def test_models_with_safetensors_are_listed(cache):
    assert list(hub_models()) == ["someone/small"]


def test_a_model_of_the_cache_and_a_folder_pass(cache):
    check_hub_model("someone/small")
    check_hub_model(str(cache))


def test_another_name_is_refused_with_the_command_that_downloads_it(cache):
    with pytest.raises(UnknownNameError, match=r"to download one, run: hf download old$"):
        check_hub_model("old")


@pytest.mark.parametrize("path", ["./small", "~/small", "/no/such/small"])
def test_a_path_that_is_not_there_is_not_taken_for_a_name(path):
    with pytest.raises(UnknownNameError) as caught:
        check_hub_model(path)
    assert str(caught.value) == f"there is no folder {path}"
