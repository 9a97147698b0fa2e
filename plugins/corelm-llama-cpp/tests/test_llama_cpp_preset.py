"""The preset llama.cpp next to llama.cpp's own samplers."""

import ctypes

import numpy as np
import pytest

import corelm

llama = pytest.importorskip("llama_cpp", reason="pip install llama-cpp-python")

PENALTIES = {"last": 64, "repeat": 1.0, "frequency": 0.0, "presence": 0.0}
DRY = {"multiplier": 0.0, "base": 1.75, "allowed_length": 2}
FILTERS = {"n_sigma": -1.0, "k": 40, "typical": 1.0, "top_p": 0.95, "min_p": 0.05}
DEFAULTS = PENALTIES | DRY | FILTERS | {"xtc": 0.0, "threshold": 0.1, "t": 0.8, "range": 0.0}
BREAKERS = ["\n", ":", '"', "*"]

CASES = {
    "defaults": ({}, {}),
    "penalties": (
        {"repeat": 1.3, "frequency": 0.2, "presence": 0.3},
        {
            "repetition_penalty(penalty=1.0": "repetition_penalty(penalty=1.3",
            "frequency_penalty(penalty=0.0": "frequency_penalty(penalty=0.2",
            "presence_penalty(penalty=0.0": "presence_penalty(penalty=0.3",
        },
    ),
    "dry": ({"multiplier": 0.8}, {"multiplier=0.0": "multiplier=0.8"}),
    "top_n_sigma": ({"n_sigma": 1.0}, {"n=inf": "n=1.0"}),
    "typical": ({"typical": 0.7}, {"typical(p=1.0)": "typical(p=0.7)"}),
    "xtc": ({"xtc": 1.0}, {"xtc(probability=0.0": "xtc(probability=1.0"}),
    "temperature": ({"t": 1.7}, {"t=0.8": "t=1.7"}),
    "no limits": (
        {"k": 0, "top_p": 1.0, "min_p": 0.0},
        {"top_k(k=40)": "top_k(k=0)", "top_p(p=0.95)": "top_p(p=1.0)", "p=0.05": "p=0.0"},
    ),
}
"""Parameters of llama.cpp, and the changes to the preset's expression that say the same."""


class Chain:
    """llama.cpp's samplers in the order of its `common_sampler_init`.

    Args:
        model: a `llama_model`.
        options: parameters that differ from the defaults.
    """

    def __init__(self, model, **options):
        o = DEFAULTS | options
        vocabulary = llama.llama_model_get_vocab(model)
        breakers = (ctypes.c_char_p * len(BREAKERS))(*(word.encode() for word in BREAKERS))
        size = llama.llama_vocab_n_tokens(vocabulary)
        self._chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
        for stage in (
            llama.llama_sampler_init_penalties(
                size, o["last"], o["repeat"], o["frequency"], o["presence"]
            ),
            llama.llama_sampler_init_dry(
                *(vocabulary, o["multiplier"], o["base"], o["allowed_length"], o["last"]),
                *(breakers, len(BREAKERS)),
            ),
            llama.llama_sampler_init_top_n_sigma(o["n_sigma"]),
            llama.llama_sampler_init_top_k(o["k"]),
            llama.llama_sampler_init_typical(o["typical"], 1),
            llama.llama_sampler_init_top_p(o["top_p"], 1),
            llama.llama_sampler_init_min_p(o["min_p"], 1),
            llama.llama_sampler_init_xtc(o["xtc"], o["threshold"], 1, 0),
            llama.llama_sampler_init_temp_ext(o["t"], o["range"], 1.0),
        ):
            llama.llama_sampler_chain_add(self._chain, stage)

    def distribution(self, logits, tokens, drop=False):
        """Return (vocabulary,) probabilities after the tokens of a text.

        Args:
            drop: take candidates of minus infinity out of the list after each stage.
        """
        llama.llama_sampler_reset(self._chain)
        for token in tokens:
            llama.llama_sampler_accept(self._chain, int(token))
        records = (llama.llama_token_data * len(logits))(
            *((i, logit, 0) for i, logit in enumerate(logits.tolist()))
        )
        candidates = llama.llama_token_data_array(records, len(logits), -1, False)
        for i in range(llama.llama_sampler_chain_n(self._chain)):
            stage = llama.llama_sampler_chain_get(self._chain, i)
            llama.llama_sampler_apply(stage, ctypes.byref(candidates))
            if drop:
                left = [r for r in candidates.data[: candidates.size] if r.logit > -np.inf]
                for j, (number, logit, p) in enumerate([(r.id, r.logit, r.p) for r in left]):
                    candidates.data[j] = llama.llama_token_data(number, logit, p)
                candidates.size = len(left)
        result = np.full(len(logits), -np.inf)
        for record in candidates.data[: candidates.size]:
            result[record.id] = record.logit
        return corelm.softmax(result)

    def free(self):
        llama.llama_sampler_free(self._chain)


def expression(changes):
    """Return the preset's expression with some of its parts replaced."""
    text = corelm.presets()["llama.cpp"]
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new, 1)
    return corelm.sampler(text)


def context(rng, size):
    """Return a text of few different tokens, so that it repeats itself."""
    alphabet = rng.integers(0, size, rng.integers(1, 9))
    return alphabet[rng.integers(0, len(alphabet), rng.integers(0, 101))]


@pytest.mark.parametrize("case", CASES)
def test_the_chain_gives_the_distribution_of_llama_cpp(case, model):
    options, changes = CASES[case]
    texts = 1000 if case == "defaults" else 200
    assert largest_difference(expression(changes), model, texts, **options) < 1e-5


SETTINGS = [
    ({}, {}),
    (
        {"repeat_penalty": 1.3, "frequency_penalty": 0.2, "presence_penalty": 0.3,
         "repeat_last_n": 5},
        {"repeat": 1.3, "frequency": 0.2, "presence": 0.3, "last": 5},
    ),
    ({"repeat_penalty": 1.3, "repeat_last_n": 0}, {"repeat": 1.3, "last": 0}),
    (
        {"dry_multiplier": 0.8, "dry_base": 1.5, "dry_allowed_length": 1},
        {"multiplier": 0.8, "base": 1.5, "allowed_length": 1},
    ),
    ({"top_n_sigma": 1.2, "top_k": 9}, {"n_sigma": 1.2, "k": 9}),
    ({"typical_p": 0.7, "top_k": 9}, {"typical": 0.7, "k": 9}),
    ({"top_n_sigma": 0, "top_k": -1, "min_p": 0, "top_p": 1},
     {"n_sigma": 0.0, "k": -1, "min_p": 0.0, "top_p": 1.0}),
    ({"xtc_probability": 1, "xtc_threshold": 0.6}, {"xtc": 1.0, "threshold": 0.6}),
    ({"xtc_probability": 1, "xtc_threshold": 0.05}, {"xtc": 1.0, "threshold": 0.05}),
    ({"temperature": 0}, {"t": 0.0}),
    ({"temperature": 0.8, "dynatemp_range": 0.5}, {"t": 0.8, "range": 0.5}),
    ({"temperature": 0.3, "dynatemp_range": 0.5}, {"t": 0.3, "range": 0.5}),
]  # fmt: skip
"""The body of a request to llama.cpp's server, and the same parameters of the library."""


@pytest.mark.parametrize(("settings", "options"), SETTINGS)
def test_settings_mean_what_they_mean_in_llama_cpp(settings, options, model):
    sampler = corelm.from_settings(settings, "llama.cpp").sampler
    assert largest_difference(sampler, model, 100, **options) < 1e-5


AFTER_TOP_N_SIGMA = [
    ({"top_n_sigma": 1.5, "typical_p": 0.7, "top_k": 0}, {"n_sigma": 1.5, "typical": 0.7, "k": 0}),
    (
        {"top_n_sigma": 1, "top_k": 0, "top_p": 1, "min_p": 0, "dynatemp_range": 0.3},
        {"n_sigma": 1.0, "k": 0, "top_p": 1.0, "min_p": 0.0, "range": 0.3},
    ),
]


@pytest.mark.parametrize(("settings", "options"), AFTER_TOP_N_SIGMA)
def test_only_candidates_of_minus_infinity_make_a_difference(settings, options, model):
    """llama.cpp's top_n_sigma leaves them in the list, and two later stages count them."""
    sampler = corelm.from_settings(settings, "llama.cpp").sampler
    assert largest_difference(sampler, model, 50, **options) > 1e-3
    assert largest_difference(sampler, model, 50, drop=True, **options) < 1e-5


def test_without_these_candidates_every_setting_is_llama_cpps(model):
    rng = np.random.default_rng(5)
    choices = {
        "n_sigma": ("top_n_sigma", [0.5, 1.0, 2.0, 5.0]),
        "typical": ("typical_p", [0.7, 1.0]),
        "k": ("top_k", [0, 5, 40]),
        "top_p": ("top_p", [0.9, 1.0]),
        "min_p": ("min_p", [0.0, 0.05]),
        "t": ("temperature", [0.8, 1.5]),
        "range": ("dynatemp_range", [0.0, 0.2]),
        "xtc": ("xtc_probability", [0.0, 1.0]),
    }
    for _ in range(100):
        options = {name: rng.choice(values).item() for name, (_, values) in choices.items()}
        settings = {choices[name][0]: value for name, value in options.items()}
        sampler = corelm.from_settings(settings, "llama.cpp").sampler
        assert largest_difference(sampler, model, 2, drop=True, **options) < 1e-5, settings


def largest_difference(sampler, model, texts, drop=False, **options):
    """Return the largest difference between two probabilities, over random logits and texts."""
    chain = Chain(model.pointer, **options)
    rng, size = np.random.default_rng(0), len(model.vocabulary)
    differences = []
    for _ in range(texts):
        logits = (rng.normal(size=size) * rng.uniform(0.5, 6)).astype(np.float32)
        tokens = context(rng, size)
        past = corelm.Context.of(tokens[None], vocabulary=model.vocabulary)
        ours = corelm.softmax(sampler(logits[None], past))[0]
        theirs = chain.distribution(logits, tokens, drop)
        differences.append(float(np.abs(ours - theirs).max()))
    chain.free()
    return max(differences)
