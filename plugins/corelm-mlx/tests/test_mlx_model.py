"""mlx-lm's models in corelm: sessions against full passes, tokens, files, the command line."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from programs import python
from tiny_mlx import (
    CONTEXT,
    ENGINE,
    TOKENIZER,
    MlxCache,
    MlxModel,
    PaddedMlxCache,
    mx,
    open_model,
    save,
    tiny_llama,
    tiny_model,
    tiny_tokenizer,
)

import corelm
from corelm import CorelmError, ParameterError
from corelm.abilities import can
from corelm.contracts.language_model import window_start
from corelm.generation.grouped_session import GroupedSession
from corelm.testing import LAWS

MODEL = MlxModel(ENGINE, TOKENIZER)
SIZE = ENGINE.args.vocab_size


def full_pass(ids, engine=ENGINE, context=CONTEXT):
    """Return the logits after texts, by one pass over their window."""
    ids = np.asarray(ids)
    ids = ids[:, window_start(ids.shape[1], context) :]
    return np.array(engine(mx.array(ids))[:, -1])


def texts(batch, length, seed=0):
    return np.random.default_rng(seed).integers(0, SIZE, size=(batch, length))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(ENGINE, TOKENIZER, tmp_path_factory.mktemp("mlx") / "tiny")


def test_a_session_has_the_logits_of_full_passes_beyond_the_context():
    ids = texts(3, 80)
    session = MODEL.start(ids[:, :5])
    for length in range(5, 80):
        logits = session.next_logits()
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, full_pass(ids[:, :length]), atol=1e-5)
        session.extend(ids[:, length])


def test_a_notebook_shows_its_sizes():
    shown = MODEL._repr_mimebundle_()
    assert f"{SIZE:,} tokens" in shown["text/html"]
    assert "MlxModel" in shown["text/plain"]


@pytest.mark.parametrize("window", [None, 8], ids=["gpt2", "rotating"])
@pytest.mark.parametrize("law", LAWS["model"])
def test_it_obeys_the_laws_of_models(window, law):
    law(MODEL if window is None else MlxModel(tiny_llama(SIZE, window=window), TOKENIZER))


def test_rows_of_different_lengths_are_one_pass(monkeypatch):
    ids = texts(1, 20)[0].tolist()
    session = MODEL.start([ids[:4], ids[:9], ids[:4]])
    session.join(MODEL.start([ids[:15]]))
    session.next_logits()
    passes, process = [], MlxCache._pass
    monkeypatch.setattr(
        MlxCache, "_pass", lambda cache, new: passes.append(new.shape) or process(cache, new)
    )
    session.extend(np.array([5, 6, 7, 8]))
    logits = session.next_logits()
    assert passes == [(4, 1)]
    for row, text in enumerate(([*ids[:4], 5], [*ids[:9], 6], [*ids[:4], 7], [*ids[:15], 8])):
        np.testing.assert_allclose(logits[row], full_pass([text])[0], atol=1e-5)


def test_rows_that_leave_take_their_padding_with_them():
    ids = texts(1, 20)[0].tolist()
    session = MODEL.start([ids[:4], ids[:15]])
    session.next_logits()
    session.select([0])
    session.extend(np.array([5]))
    np.testing.assert_allclose(session.next_logits(), full_pass([[*ids[:4], 5]]), atol=1e-5)
    assert session._cache.positions == 5


def test_a_cache_that_rotates_gets_a_pass_for_each_length():
    engine = tiny_llama(SIZE, 8)
    assert not PaddedMlxCache.fits(engine)
    session = MlxModel(engine, TOKENIZER).start([[3, 4, 5], [6]])
    assert isinstance(session, GroupedSession)


def test_a_cache_that_rotates_has_the_logits_of_full_passes():
    engine, ids = tiny_llama(SIZE, window=8), texts(2, 30)
    model = MlxModel(engine, TOKENIZER)
    assert model.context_length == 256
    for length in (5, 12, 30):
        expected = full_pass(ids[:, :length], engine, 256)
        found = model.start(ids[:, :length]).next_logits()
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_long_prompt_is_processed_in_parts(monkeypatch):
    monkeypatch.setattr("corelm_mlx.model.PREFILL", 7)
    ids = texts(2, 30)
    np.testing.assert_allclose(MODEL.start(ids).next_logits(), full_pass(ids), atol=1e-5)


def test_the_distribution_is_that_of_the_logits():
    ids = texts(2, 9)
    p = MODEL.next_token_distribution(ids)
    np.testing.assert_allclose(p, corelm.softmax(full_pass(ids)), atol=1e-6)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)


def test_the_vocabulary_is_the_tokenizers():
    vocabulary = MODEL.vocabulary
    assert len(vocabulary) == SIZE
    assert (vocabulary.padding, vocabulary.unknown, vocabulary.start) == (None, None, None)
    [end] = vocabulary.ends
    assert end == TOKENIZER.eos_token_id
    ids = vocabulary.encode("the cat, naïvely")
    assert vocabulary.decode(ids) == "the cat, naïvely"
    assert b"".join(map(vocabulary.token_bytes, ids)).decode() == "the cat, naïvely"
    assert can(vocabulary, "token_bytes")


def test_a_model_has_several_ends_and_a_start():
    tokenizer = tiny_tokenizer(start=True)
    tokenizer.add_eos_token("t")
    model = MlxModel(ENGINE, tokenizer)
    assert model.vocabulary.start == tokenizer.eos_token_id
    assert set(model.vocabulary.ends) == {tokenizer.eos_token_id, tokenizer.encode("t")[-1]}
    empty = model.start(np.empty((1, 0), dtype=int)).next_logits()
    np.testing.assert_allclose(empty, full_pass([[tokenizer.eos_token_id]]), atol=1e-5)


def test_a_tokenizer_of_another_model_is_refused():
    with pytest.raises(CorelmError, match="they do not belong together"):
        MlxModel(tiny_model(100), TOKENIZER)


def test_it_opens_by_its_path(folder):
    model = corelm.load(f"mlx:{folder}")
    options = {"sampler": "min_p(p=0.02)", "length": 20, "seed": 3}
    [found] = corelm.generate(model, "the cat", **options)
    [expected] = corelm.generate(MODEL, "the cat", **options)
    assert found == expected


def test_a_number_format_may_be_chosen(folder):
    ids = texts(1, 6)
    half = open_model(folder, dtype="bfloat16").start(ids).next_logits()
    assert half.dtype == np.float32
    assert 1e-4 < np.abs(half - full_pass(ids)).max() < 0.5
    with pytest.raises(ParameterError, match="dtype must be one of float32, float16, bfloat16"):
        open_model(folder, dtype="int4")


@pytest.mark.parametrize(
    "damage", ["cut", "shape", "missing", "kind", "config", "code", "none", "layers"]
)
def test_a_damaged_model_is_refused_in_one_line(folder, tmp_path, damage):
    copy = shutil.copytree(folder, tmp_path / "copy")
    config, weights = copy / "config.json", copy / "model.safetensors"
    settings = json.loads(config.read_text())
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif damage == "shape":
        config.write_text(json.dumps(settings | {"n_embd": 2**20}))
    elif damage == "missing":
        config.write_text(json.dumps(settings | {"n_layer": 3}))
    elif damage == "kind":
        config.write_text(json.dumps(settings | {"model_type": "no_such_network"}))
    elif damage == "config":
        config.write_text("{")
    elif damage == "code":
        config.write_text(json.dumps(settings | {"model_file": "model.py"}))
        (copy / "model.py").write_text("raise SystemExit('run')")
    elif damage == "layers":
        config.write_text(json.dumps(settings | {"n_layer": 10**9}))
    elif damage == "none":
        weights.unlink()
    with pytest.raises(CorelmError, match=r"^mlx-lm cannot open |config\.json': ") as caught:
        open_model(str(copy))
    assert "\n" not in str(caught.value)


def test_the_code_of_a_tokenizer_is_never_offered_to_run(tmp_path, monkeypatch):
    """transformers asks at the terminal about a network that mlx-lm alone knows."""
    copy = save(tiny_llama(SIZE, window=8), TOKENIZER, tmp_path / "copy")
    (copy / "evil.py").write_text("raise SystemExit('run')")
    for name, lie in [
        ("config.json", {"model_type": "xverse"}),  # mlx-lm takes it for llama
        ("tokenizer_config.json", {"tokenizer_class": "Evil", "auto_map": ["evil.Evil", None]}),
    ]:
        settings = json.loads((copy / name).read_text()) | lie
        settings.pop("rope_scaling", None)  # which transformers refuses here, before the code
        (copy / name).write_text(json.dumps(settings))
    monkeypatch.setattr("builtins.input", lambda question: "y")
    with pytest.raises(CorelmError, match="contains custom code"):
        open_model(str(copy))


def test_a_model_that_is_not_there_is_refused():
    with pytest.raises(CorelmError, match="there is no folder nowhere/at-all"):
        corelm.load("mlx:nowhere/at-all")


def test_the_end_of_a_text_is_not_shown():
    assert MODEL.vocabulary.decode(TOKENIZER.encode(f"the{TOKENIZER.eos_token}")) == "the"


def test_the_example_of_the_readme_runs(tmp_path):
    folder = save(tiny_model(SIZE, context_length=512), TOKENIZER, tmp_path / "tiny")
    readme = Path(__file__).parents[1].joinpath("README.md").read_text("utf-8")
    [code] = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    done = python("-c", code.replace('"model"', repr(str(folder))), encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_a_model_that_keeps_a_state_outside_its_cache_is_refused(monkeypatch):
    monkeypatch.setattr("corelm_mlx.model.MlxCache.select", lambda self, rows: None)
    with pytest.raises(CorelmError, match=r"gpt2 .* cache"):
        MlxModel(ENGINE, TOKENIZER)
