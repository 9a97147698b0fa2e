"""An engine that is missing, too old or changed, and model folders that would cost too much."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from programs import python

from corelm.errors import MissingDependencyError, ModelFileError, UnknownNameError, UsageError
from corelm.interop import requirements

ENGINES = {
    "corelm_llama_cpp": ("gguf:{}", "llama-cpp-python", "0.3.36", ["llama_cpp"]),
    "corelm_mlx": ("mlx:{}", "mlx-lm", "0.32", ["mlx", "mlx_lm"]),
    "corelm_transformers": ("transformers:{}", "transformers", "5.18", ["transformers"]),
    "corelm_keras_hub": ("keras_hub:{}", "keras-hub", "0.32", ["keras_hub", "keras"]),
}
"""By adapter: a model, the engine's name for pip, the oldest version that works, its modules."""

INSTALLED = {name: facts for name, facts in ENGINES.items() if find_spec(name)}

OPEN_EACH = """
import importlib.metadata, json, sys
models, missing = map(json.loads, sys.argv[1:])
version = importlib.metadata.version
def no_version(name):
    if name in missing.values(): raise importlib.metadata.PackageNotFoundError(name)
    return version(name)
importlib.metadata.version = no_version
sys.modules |= dict.fromkeys(missing)
import corelm
for model in models:
    try: print(corelm.load(model))
    except corelm.CorelmError as error: print(error)
"""


def errors_of(tmp_path: Path, missing: dict[str, str] | None = None) -> list[str]:
    """Open a model of each adapter in a process of its own; return the messages."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    models = [facts[0].format(model) for facts in INSTALLED.values()]
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = python(
        "-c", OPEN_EACH, json.dumps(models), json.dumps(missing or {}), env={"PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def install(site: Path, package: str, version: str, modules: list[str]) -> None:
    """Install an engine without content."""
    metadata = site / f"{package.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
    )
    for module in modules:
        (site / f"{module}.py").write_text("")


@pytest.mark.slow
def test_an_engine_that_is_missing(tmp_path: Path) -> None:
    missing = {name: facts[1] for facts in INSTALLED.values() for name in facts[3]}
    assert errors_of(tmp_path, missing) == [
        f'{package} is not installed; pip install "{package}>={version}"'
        for _, package, version, _ in INSTALLED.values()
    ]


@pytest.mark.slow
def test_an_engine_that_is_too_old(tmp_path: Path) -> None:
    for _, package, _, modules in INSTALLED.values():
        install(tmp_path, package, "0.0.9", modules)
    assert errors_of(tmp_path) == [
        f'{package} 0.0.9 is too old; pip install "{package}>={version}"'
        for _, package, version, _ in INSTALLED.values()
    ]


@pytest.mark.slow
def test_an_engine_that_has_changed_its_interface(tmp_path: Path) -> None:
    for _, package, _, modules in INSTALLED.values():
        install(tmp_path, package, "99.0", modules)
    found = errors_of(tmp_path)
    for message, (_, package, version, _) in zip(found, INSTALLED.values(), strict=True):
        assert message.startswith(f"{package} 99.0 cannot be used: ")
        assert message.endswith(f'; a version that works: pip install "{package}=={version}.*"')


def test_a_version_without_metadata_is_left_out_of_the_message() -> None:
    message = "^an-engine cannot be used: OSError: no library; a version that works: "
    with (
        pytest.raises(MissingDependencyError, match=message),
        requirements.requires("an-engine", "1.0"),
    ):
        raise OSError("no library")


def test_errors_of_corelm_pass_through() -> None:
    with pytest.raises(UsageError, match=r"^as it is$"), requirements.requires("an-engine", "1.0"):
        raise UsageError("as it is")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"n_layer": 10**9}, "n_layer = 1000000000 is more than 1000"),
        ({"parts": [{"num_layers": 10**9}]}, "num_layers = 1000000000 is more than 1000"),
        ({"n_embd": 2**40}, "n_embd = 1099511627776 is more than 1073741824"),
        ({"transformers_weights": "a.bin"}, "the weights 'a.bin' aren't a .safetensors file in .*"),
    ],
)
def test_a_configuration_of_impossible_sizes_is_refused(
    tmp_path: Path, config: object, reason: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match=rf"config\.json': {reason}$"):
        requirements.check_model(tmp_path)


@pytest.mark.parametrize("content", [b"{", b"[" * 10**5, b"\xff"])
def test_a_configuration_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"config\.json': it cannot be read: "):
        requirements.check_model(tmp_path)


@pytest.mark.parametrize(
    ("name", "size", "most"),
    [
        ("config.json", 2**20 + 1, 2**20),
        ("tokenizer.json", 5 * 2**30, 2**28),
        ("assets/vocabulary.txt", 5 * 2**30, 2**28),
    ],
)
def test_a_file_that_no_model_needs_is_refused_unread(
    tmp_path: Path, name: str, size: int, most: int
) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").touch()
    os.truncate(tmp_path / "model.safetensors", 5 * 2**30)  # weights may be large
    requirements.check_model(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    os.truncate(tmp_path / name, size)  # sparse: it takes no room
    with pytest.raises(ModelFileError, match=f"{name}': it has more than {most} bytes$"):
        requirements.check_model(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_the_folder_does_not_hang(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    os.mkfifo(tmp_path / "tokenizer.json")
    with pytest.raises(ModelFileError, match="it isn't a regular file"):
        requirements.check_model(tmp_path)


def test_an_adapter_of_peft_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "else/where"}')
    with pytest.raises(ModelFileError, match=r"adapter_config.json': it is an adapter of peft"):
        requirements.check_model(tmp_path)


@pytest.mark.parametrize(
    "setting",
    [
        {"_attn_implementation": "flash_attention_2"},
        {"_attn_implementation": "paged|flash_attention_3"},
        {"attn_implementation": "a/b"},
        {"_attn_implementation": ["x/y"]},
        {"_attn_implementation": {"": "sdpa", "vision_config": "x/y:z"}},
        {"_attn_implementation_internal": "a/b"},
        {"experts_implementation": "sonicmoe"},
        {"_experts_implementation": {"": "deepgemm"}},
        {"attribute_map": {"x": "_attn_implementation"}, "x": "a/b"},
    ],
    ids=str,
)
def test_code_that_is_fetched_from_a_hub_is_refused(tmp_path: Path, setting: object) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"text_config": setting}))
    with pytest.raises(ModelFileError, match="may be code of a hub, which is never loaded"):
        requirements.check_model(tmp_path)


def test_code_of_the_engine_itself_may_be_chosen(tmp_path: Path) -> None:
    config = {
        "_attn_implementation": "eager",
        "attn_implementation": {"": "sdpa", "text_config": None},
        "experts_implementation": "grouped_mm",
        "cache_implementation": "hybrid",
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    requirements.check_model(tmp_path)


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
    assert list(requirements.hub_models()) == ["someone/small"]


def test_a_model_of_the_cache_and_a_folder_pass(cache):
    requirements.check_model("someone/small")
    (cache / "config.json").write_text("{}")
    requirements.check_model(str(cache))


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"there is no config\.json$"):
        requirements.check_model(str(tmp_path))


def test_another_name_is_refused_with_the_command_that_downloads_it(cache):
    with pytest.raises(UnknownNameError, match=r"to download one, run: hf download old$"):
        requirements.check_model("old")


@pytest.mark.parametrize("path", ["./small", "~/small", "/no/such/small"])
def test_a_path_that_is_not_there_is_not_taken_for_a_name(path):
    with pytest.raises(UnknownNameError) as caught:
        requirements.check_model(path)
    assert str(caught.value) == f"there is no folder {path}"
