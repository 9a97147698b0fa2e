"""The sampler in C of plugins/corelm-llama-cpp, compiled for the benchmarks of llama.cpp."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llama_cpp as llama

from corelm.interop import chain_text

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "corelm" / "native" / "src"
SAMPLER = ROOT / "plugins" / "corelm-llama-cpp" / "c"
ENGINE = Path(llama.__file__).parents[1]


class Tokens:
    """A vocabulary without special tokens."""

    padding = unknown = start = None
    ends: frozenset[int] = frozenset()

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def encode(self, text: str) -> list[int]:
        raise NotImplementedError(text)


def library() -> ctypes.CDLL:
    """Compile the sampler, as docs/how-to/use-corelm-in-llama-cpp.md does, and load it."""
    made = Path(tempfile.mkdtemp()) / "libcorelm_llama.so"
    folders = [f"-I{path}" for path in (SOURCES, SAMPLER, ENGINE / "include")]
    sources = [SAMPLER / "corelm_llama.c", *SOURCES.glob("*.c"), *SOURCES.glob("simd/*.c")]
    engine = [f"-L{ENGINE / 'llama_cpp' / 'lib'}", "-lllama", "-lm", "-lpthread"]
    options = ["-O3", "-ffp-contract=off", "-fvisibility=hidden", "-shared", "-fPIC"]
    command = ["cc", *options, *folders, *map(str, sources), *engine, "-o", str(made)]
    subprocess.run(command, check=True)
    found = ctypes.CDLL(str(made))
    found.corelm_llama_init.restype = ctypes.POINTER(llama.llama_sampler)
    found.corelm_llama_sample.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32]
    return found


def in_c(found: ctypes.CDLL, expression: Any, size: int) -> Callable[[], Any]:
    """Return a function that makes the sampler of an expression for rows of a size."""
    text = chain_text(expression, Tokens(size)).encode()
    seed, sample = ctypes.c_uint64(1), ctypes.c_uint64(0)
    error = ctypes.create_string_buffer(200)

    def make() -> Any:
        made = found.corelm_llama_init(text, ctypes.c_size_t(len(text)), seed, sample, error)
        assert made, error.value
        return made

    return make
