"""The sampler in C writes corelm's texts, in the README's program and in chains of llama.cpp."""

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import corelm
from corelm import native
from corelm.interop import chain_text

llama = pytest.importorskip("llama_cpp", reason="pip install llama-cpp-python")

COMPILER = shutil.which("gcc") or shutil.which("clang")
ROOT = Path(__file__).parents[3]
KERNELS = ROOT / "corelm" / "native" / "src"
SAMPLER = ROOT / "plugins" / "corelm-llama-cpp" / "c"
README = SAMPLER.parent / "README.md"
ENGINE = Path(llama.__file__).parents[1]
LIBRARY = ENGINE / "llama_cpp" / "lib"
CHAINS = [
    "min_p(p=0.05) | temperature(t=0.8)",
    "top_k(k=40) | top_p(p=0.95) | temperature(t=1.2)",
    "typical(p=0.9) | xtc(probability=0.5, threshold=0.02, special='end')",
    "repetition_penalty(penalty=1.3, last=8) | min_p(p=0.05) | temperature(t=0.8)",
    "frequency_penalty(penalty=0.5) | presence_penalty(penalty=0.5, skip_prompt=True)",
    "stochastic",
]
PROMPTS = ["This movie", "the", "This is the movie of the"]
LENGTH = 20
BROKEN = "\N{REPLACEMENT CHARACTER}"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(COMPILER is None, reason="there is no C compiler here"),
    pytest.mark.skipif(native.kernels is None, reason="the kernels are not compiled here"),
    pytest.mark.skipif(not KERNELS.is_dir(), reason="the sources in C are not here"),
    pytest.mark.skipif(not (ENGINE / "include" / "llama.h").exists(), reason="no llama.h"),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of the README's program and of a library with the sampler."""
    folder = tmp_path_factory.mktemp("c")
    [program] = re.findall(r"```c\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    (folder / "write.c").write_text(program)
    folders = [f"-I{path}" for path in (KERNELS, SAMPLER, ENGINE / "include")]
    sources = [SAMPLER / "corelm_llama.c", *KERNELS.glob("*.c"), *KERNELS.glob("simd/*.c")]
    strict = ["-O0", "-fPIC", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off"]
    libraries = [f"-L{LIBRARY}", f"-Wl,-rpath,{LIBRARY}", "-lllama", "-lm", "-lpthread"]

    def run(*options):
        command = [COMPILER, *map(str, options)]
        subprocess.run(command, cwd=folder, check=True, timeout=600)

    run(*strict, *folders, "-c", *sources, "write.c")
    objects = [path for path in folder.glob("*.o") if path.name != "write.o"]
    run("write.o", *objects, *libraries, "-o", "write")
    run("-shared", *objects, *libraries, "-o", "libcorelm_llama.so")
    return folder


def text_of_corelm(model, sampler, prompt):
    [text] = corelm.generate(model, prompt, sampler=sampler, seed=3, length=LENGTH)
    return text


@pytest.mark.parametrize("sampler", CHAINS)
def test_the_program_of_the_readme_writes_the_text_of_corelm(sampler, built, gguf_file, model):
    (built / "chain.txt").write_text(chain_text(sampler, model.vocabulary))
    for prompt in PROMPTS:
        done = subprocess.run(
            ["./write", gguf_file, "chain.txt", "3", prompt],
            cwd=built, capture_output=True, check=True, timeout=600,
        )  # fmt: skip
        written = done.stdout.removesuffix(b"\n").decode("utf-8", "replace")
        # corelm leaves out the bytes at the end that make up no character.
        expected = text_of_corelm(model, sampler, prompt).text
        assert written.rstrip(BROKEN) == expected.rstrip(BROKEN)


class Library:
    """The sampler as a library."""

    def __init__(self, folder):
        functions = ctypes.CDLL(str(folder / "libcorelm_llama.so"))
        self._init = functions.corelm_llama_init
        self._init.restype = ctypes.POINTER(llama.llama_sampler)
        self._init.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_char_p,
        ]  # fmt: skip
        self.sample, self.error = functions.corelm_llama_sample, functions.corelm_llama_error
        self.sample.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32]
        self.error.restype = ctypes.c_char_p

    def sampler(self, text, seed=3):
        """A sampler, and the error where there is none."""
        error = ctypes.create_string_buffer(200)
        made = self._init(text.encode(), len(text.encode()), seed, 0, error)
        return made, error.value.decode()


@pytest.fixture
def library(built):
    return Library(built)


def written(llm, model, sampler, prompt, *, sample=llama.llama_sampler_sample):
    """The tokens of llama.cpp's own loop."""
    tokens = llm.tokenize(prompt.encode(), add_bos=False)
    llm.reset()
    llm.eval(tokens)
    for token in tokens:
        llama.llama_sampler_accept(sampler, token)
    drawn = []
    while len(drawn) < LENGTH and not (drawn and drawn[-1] in model.vocabulary.ends):
        drawn.append(sample(sampler, llm.ctx, -1))
        llm.eval(drawn[-1:])
    return drawn


@pytest.mark.parametrize("sampler", CHAINS)
def test_a_chain_of_llama_cpp_draws_the_tokens_of_corelm(sampler, library, llm, model):
    own, _ = library.sampler(chain_text(sampler, model.vocabulary))
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    # All candidates, but sorted: they are found by their ids.
    llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_top_k(llm.n_vocab() - 1))
    llama.llama_sampler_chain_add(chain, llama.llama_sampler_clone(own))
    for prompt in PROMPTS:
        expected = text_of_corelm(model, sampler, prompt).tokens
        for each in (own, chain):
            llama.llama_sampler_reset(each)
            assert written(llm, model, each, prompt) == expected
        llama.llama_sampler_reset(own)
        assert written(llm, model, own, prompt, sample=library.sample) == expected
        # Without a reset, tokens that were not drawn are a longer prompt: only penalties read it.
        if "penalty" not in sampler:
            assert written(llm, model, own, prompt) == expected
    assert llama.llama_sampler_name(own) == b"corelm"
    assert library.error(own) == b""
    llama.llama_sampler_free(own)
    llama.llama_sampler_free(chain)


def test_a_token_that_is_drawn_again_has_the_same_random_number(library, llm, model):
    own, _ = library.sampler(chain_text("stochastic", model.vocabulary))
    llm.reset()
    llm.eval(llm.tokenize(b"the", add_bos=False))
    candidates = (llama.llama_token_data * 3)(*((i, 0.0, 0.0) for i in (9, 5, 7)))
    array = llama.llama_token_data_array(candidates, 3, -1, False)
    chosen = []
    for _ in range(3):
        llama.llama_sampler_apply(own, ctypes.byref(array))
        chosen.append(array.selected)
    llama.llama_sampler_accept(own, 5)
    llama.llama_sampler_apply(own, ctypes.byref(array))
    uniforms = [corelm.RandomStream(3, [0]).at(i)[0] for i in range(2)]
    order = {0: 1, 1: 2, 2: 0}  # by id: 5, 7, 9
    assert [*chosen[:1], array.selected] == [order[int(u * 3)] for u in uniforms]
    assert len({*chosen}) == 1
    llama.llama_sampler_free(own)


def test_what_cannot_be_drawn_is_told(library, llm, model):
    own, error = library.sampler("corelm chain 1\nvocabulary 5\nstage top_q\nend\n")
    assert not own
    assert error == "line 3: expected the name of a stage, got 'top_q'"
    own, _ = library.sampler("corelm chain 1\nvocabulary 5\nend\n")
    llm.reset()
    llm.eval([4])
    assert library.sample(own, llm.ctx, -1) == llama.LLAMA_TOKEN_NULL
    assert library.error(own).decode() == f"llama.cpp has {llm.n_vocab()} logits, and the chain 5"
    candidates = (llama.llama_token_data * 1)((2, float("nan"), 0.0))
    array = llama.llama_token_data_array(candidates, 1, -1, False)
    llama.llama_sampler_apply(own, ctypes.byref(array))
    assert array.selected == 0
    assert library.error(own) == b"a row is not a distribution"
    llama.llama_sampler_reset(own)
    assert library.error(own) == b""
    llama.llama_sampler_free(own)
