"""Tiny GGUF models, and llama.cpp with them."""

import pytest
from small_models import LLAMA_OPTIONS


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Run llama.cpp on one thread: for tiny models others only wait for each other."""
    pytest.importorskip("llama_cpp", reason="pip install llama-cpp-python")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("corelm.native.cpu.cpu_limit", lambda: 1)
        yield


@pytest.fixture(scope="session")
def gguf_file(tmp_path_factory):
    """Return the path of a tiny model whose texts begin with the prompt."""
    pytest.importorskip("gguf", reason="pip install gguf")
    import tiny_gguf

    return tiny_gguf.write(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(scope="session")
def started_file(tmp_path_factory):
    """Return the path of a tiny model whose tokenizer puts a token before every text."""
    pytest.importorskip("gguf", reason="pip install gguf")
    import tiny_gguf

    return tiny_gguf.write(tmp_path_factory.mktemp("gguf") / "started.gguf", start=True)


@pytest.fixture(scope="session")
def model(gguf_file):
    """Return the tiny model in corelm."""
    from corelm_llama_cpp import LlamaCppModel

    return LlamaCppModel(gguf_file)


@pytest.fixture(scope="session")
def llm(gguf_file):
    """Yield the tiny model in llama-cpp-python, in single precision as in corelm."""
    llama = pytest.importorskip("llama_cpp", reason="pip install llama-cpp-python")
    llm = llama.Llama(str(gguf_file), verbose=False, flash_attn=False, **LLAMA_OPTIONS)
    yield llm
    llm.close()


@pytest.fixture(scope="session")
def drafting(gguf_file):
    """Yield the tiny model in llama-cpp-python with all logits, which draft models need."""
    llama = pytest.importorskip("llama_cpp", reason="pip install llama-cpp-python")
    llm = llama.Llama(
        str(gguf_file), verbose=False, logits_all=True, flash_attn=False, **LLAMA_OPTIONS
    )
    yield llm
    llm.close()
