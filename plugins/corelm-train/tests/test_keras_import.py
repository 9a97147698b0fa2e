"""Without Keras, one line gives the command that installs it."""

from importlib import metadata

import pytest
from corelm_train.keras_import import keras_is_missing

COMMAND = 'install them with: pip install "corelm[train]"'


@pytest.mark.parametrize(
    ("installed", "reason"),
    [("3.10.0", "the installed Keras is 3.10.0"), ("3.15.1", "no such layer"), ("4.0", "no such")],
)
def test_the_reason_is_in_the_line(monkeypatch, installed, reason):
    monkeypatch.setattr(metadata, "version", lambda name: installed)
    message = str(keras_is_missing("training", AttributeError("no such layer.\nmore")))
    assert message.startswith("training needs Keras 3.15.1 or later and TensorFlow (" + reason)
    assert message.endswith(COMMAND)
    assert "\n" not in message


def test_an_unknown_backend_is_named_with_the_way_out(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "nope")
    monkeypatch.setattr(metadata, "version", lambda name: "3.15.1")
    message = str(keras_is_missing("training", ValueError("Unable to import backend : nope")))
    assert message == (
        "training needs Keras with the backend tensorflow (Unable to import backend : nope): "
        "set KERAS_BACKEND=tensorflow"
    )


def test_nothing_of_keras_is_installed(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert str(keras_is_missing("training", ImportError("x"))) == (
        "training needs Keras 3.15.1 or later and TensorFlow (Keras is not installed); " + COMMAND
    )
