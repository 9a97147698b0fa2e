"""`--model transformers:PATH`: models on this machine, and malicious ones."""

import json
import os
import shutil

import pytest
import tiny_transformers  # noqa: F401 (skips without transformers)
import torch
from corelm_transformers import TransformersModel
from programs import python
from tiny_transformers import ENGINE, TOKENIZER

import corelm
from corelm import CorelmError, ParameterError
from corelm.cli.app import main
from corelm.interop.testing import tiny_gpt2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny"
    ENGINE.save_pretrained(path)
    TOKENIZER.save_pretrained(path)
    return path


@pytest.fixture
def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def change(folder, **values):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def texts(model):
    return [t.text for t in corelm.generate(model, "the cat", sampler="min_p(p=0.1)", n=3, seed=1)]


class Runs:
    def __reduce__(self):
        return exec, ("raise SystemExit('it ran')",)


def test_a_folder_is_opened(folder):
    opened = corelm.load(f"transformers:{folder}")
    assert texts(opened) == texts(TransformersModel(ENGINE, TOKENIZER))


def test_the_number_format_and_the_device(folder):
    model = corelm.load(f"transformers:{folder}", device="cpu", dtype="bfloat16")
    assert model._model.dtype == torch.bfloat16
    assert model.start([[1]]).next_logits().dtype == "float32"
    with pytest.raises(ParameterError, match="dtype must be one of float32, float16, bfloat16"):
        corelm.load(f"transformers:{folder}", dtype="int3")
    with pytest.raises(ParameterError, match=r"device 'abacus': .*abacus"):
        corelm.load(f"transformers:{folder}", device="abacus")


def test_a_name_is_never_downloaded(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CorelmError, match="run: hf download someone/model"):
        corelm.load("transformers:someone/model")


def test_a_path_that_is_not_there_is_not_taken_for_a_name(tmp_path):
    missing = tmp_path / "missing"
    with pytest.raises(CorelmError) as caught:
        corelm.load(f"transformers:{missing}")
    assert str(caught.value) == f"there is no folder {missing}"


@pytest.mark.parametrize(
    "lie",
    [
        {"n_layer": 3},
        {"n_layer": 10**9},
        {"n_embd": 2**40},
        {"n_embd": 32},
        {"n_positions": 2**50},
        {"vocab_size": 10**12},
        {"vocab_size": 10**9},
        {"n_inner": 10**9},
        {"parts": {"n_layer": 10**9}},
        {"model_type": "no-such-kind"},
        {"model_type": "bert"},
        {"n_head": 3},
        {"auto_map": {"AutoModelForCausalLM": "evil.Evil"}, "model_type": "evil"},
    ],
    ids=str,
)
def test_a_configuration_that_lies_is_refused(copied, lie):
    change(copied, **lie)
    assert_refused(copied)


def test_large_but_possible_sizes_are_accepted(copied):
    change(copied, vocab_size_per_layer_input=262_144, max_window_layers=999, rope_theta=10**7)
    assert corelm.load(f"transformers:{copied}").context_length == 32


def assert_refused(path):
    with pytest.raises(CorelmError) as caught:
        corelm.load(f"transformers:{path}")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", b"{"),
        ("model.safetensors", b"\xff" * 100),
        ("model.safetensors", b""),
        ("tokenizer.json", b"{"),
        ("tokenizer_config.json", b"[]"),
    ],
)
def test_damaged_files_are_refused(copied, file, content):
    (copied / file).write_bytes(content)
    assert_refused(copied)


def test_a_tokenizer_of_five_gigabytes_is_refused_unread(copied):
    os.truncate(copied / "tokenizer.json", 5 * 2**30)  # sparse
    assert_refused(copied)


def test_a_cut_file_of_weights_is_refused(copied):
    file = copied / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert_refused(copied)


def test_pickled_weights_are_never_read(copied):
    (copied / "model.safetensors").unlink()
    torch.save(Runs(), copied / "pytorch_model.bin")
    assert_refused(copied)


@pytest.mark.parametrize("place", ["../secret/w.bin", "w.bin", "link.safetensors", "/{}/w.bin"])
def test_shards_that_are_pickled_or_outside_the_folder_are_never_read(copied, tmp_path, place):
    secret = tmp_path / "secret"
    secret.mkdir()
    place = place.replace("/{}", str(secret))
    weights = ENGINE.state_dict()
    for file in (secret / "w.bin", copied / "w.bin"):
        torch.save(weights, file)
    (copied / "model.safetensors").rename(secret / "model.safetensors")
    (copied / "link.safetensors").symlink_to(secret / "model.safetensors")
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(weights, place)}
    (copied / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CorelmError, match=r"the weights '.*' aren't a \.safetensors file in the"):
        corelm.load(f"transformers:{copied}")


def test_the_shards_of_a_folder_are_read(copied):
    ENGINE.save_pretrained(copied, max_shard_size="5KB")
    (copied / "model.safetensors").unlink()
    assert len(list(copied.glob("model-*.safetensors"))) > 1
    assert texts(corelm.load(f"transformers:{copied}")) == texts(
        TransformersModel(ENGINE, TOKENIZER)
    )


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        ({"_attn_implementation": "kernels-community/x"}, "may be code of a hub, which is never"),
        ({"attn_implementation": {"": "someone/x:y"}}, "may be code of a hub, which is never"),
        ({"transformers_weights": "adapter_model.bin"}, "aren't a .safetensors file in the folder"),
    ],
    ids=str,
)
def test_code_of_a_hub_and_other_weights_are_refused(copied, lie, message):
    change(copied, **lie)
    with pytest.raises(CorelmError) as caught:
        corelm.load(f"transformers:{copied}")
    assert message in str(caught.value)


def test_keys_that_name_code_change_nothing_where_transformers_has_its_own(copied):
    (copied / "evil.py").write_text("raise SystemExit('it ran')")
    code = {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "someone/else--evil.Evil"}
    kernels = {"kernel_mapping": {"LayerNorm": "someone/else:LayerNorm"}}
    change(copied, auto_map=code, use_kernels=True, kernel_config=kernels, extra_files=["../x.bin"])
    file = copied / "tokenizer_config.json"
    settings = json.loads(file.read_text()) | {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    file.write_text(json.dumps(settings))
    opened = corelm.load(f"transformers:{copied}")
    assert texts(opened) == texts(TransformersModel(ENGINE, TOKENIZER))


def test_weights_may_be_a_link_and_are_never_unpickled(copied, tmp_path):
    """A link that has the one file's usual name is the user's own; an index names files freely."""
    weights, elsewhere = copied / "model.safetensors", tmp_path / "large_disk.bin"
    weights.rename(elsewhere)
    weights.symlink_to(elsewhere)
    opened = corelm.load(f"transformers:{copied}")
    assert texts(opened) == texts(TransformersModel(ENGINE, TOKENIZER))
    torch.save(Runs(), elsewhere)
    assert_refused(copied)


def test_a_snapshot_of_links_to_blobs_is_opened(folder, tmp_path):
    repository = tmp_path / "models--someone--linked"
    shutil.copytree(folder, repository / "blobs")
    snapshot = repository / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    ENGINE.save_pretrained(repository / "blobs", max_shard_size="5KB")
    for file in (repository / "blobs").iterdir():
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
    (snapshot / "model.safetensors").unlink()
    assert texts(corelm.load(f"transformers:{snapshot}"))


def run(*words, **environment):
    return python("-m", "corelm", *words, env=environment, encoding="utf-8")


def test_a_name_in_the_cache_is_opened(folder, tmp_path, capsys):
    repository = tmp_path / "models--someone--small"
    shutil.copytree(folder, repository / "snapshots" / "0123")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123")
    words = ["sample", "the", "--length", "3", "--seed", "1", "--model"]
    done = run(*words, "transformers:someone/small", HF_HUB_CACHE=str(tmp_path))
    assert done.stderr == ""
    assert main([*words, f"transformers:{folder}"]) == 0
    assert done.stdout == capsys.readouterr().out


def test_listing_models_imports_no_engine():
    code = (
        "import sys\nfrom corelm_transformers.scheme import corelm_models\n"
        "list(corelm_models()['transformers'].installed())\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = python("-c", code)
    assert done.stdout == "[]\n", done.stderr


def test_one_seed_one_text_in_both(tmp_path):
    """corelm's own network and its export to transformers write the same texts."""
    ours = tiny_gpt2(tmp_path / "tiny")
    done = run("models", "export", str(ours), "--to", "transformers", str(tmp_path / "theirs"))
    assert done.returncode == 0, done.stderr
    ours, theirs = corelm.load(ours), corelm.load(f"transformers:{tmp_path / 'theirs'}")
    assert theirs.vocabulary.start == ours.vocabulary.start
    assert list(theirs.vocabulary.ends) == list(ours.vocabulary.ends)
    for prompt in ("This movie", "a naïve é", ""):
        assert theirs.vocabulary.encode(prompt) == ours.vocabulary.encode(prompt)
    # transformers may draw the padding too
    sampler = "min_p(p=0.05) | temperature(t=1.2) | ban(words=[0])"
    options = {"sampler": sampler, "length": 90, "n": 2, "seed": 7}
    found = [
        [text.text for text in corelm.generate(m, "This movie", **options)] for m in (ours, theirs)
    ]
    assert found[0] == found[1]


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(CorelmError, match=r"there is no config.json"):
        corelm.load(f"transformers:{tmp_path}")
