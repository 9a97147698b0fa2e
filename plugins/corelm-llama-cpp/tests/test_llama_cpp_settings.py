"""The preset, and 400 random settings a format, against llama.cpp's samplers in its server's order.

llama.cpp, its command line and Ollama have one engine: their settings are llama.cpp's under other
names, and the chain below is built as `common_sampler_init` in common/sampling.cpp builds it.
"""

import ctypes

import numpy as np
import pytest

import corelm

llama = pytest.importorskip("llama_cpp", reason="pip install llama-cpp-python")

TRIALS = 400
CONTEXT = 256
"""The window of a penalty whose last_n is -1: more than any text here has."""
BREAKERS = ["\n", ":", '"', "*"]
DEFAULTS = {
    "temperature": 0.8, "dynatemp_range": 0.0, "dynatemp_exponent": 1.0, "top_k": 40,
    "top_p": 0.95, "min_p": 0.05, "typical_p": 1.0, "top_n_sigma": -1.0, "xtc_probability": 0.0,
    "xtc_threshold": 0.1, "repeat_last_n": 64, "repeat_penalty": 1.0, "frequency_penalty": 0.0,
    "presence_penalty": 0.0, "dry_multiplier": 0.0, "dry_base": 1.75, "dry_allowed_length": 2,
    "dry_penalty_last_n": 64, "dry_sequence_breakers": BREAKERS, "mirostat": 0,
    "mirostat_tau": 5.0, "mirostat_eta": 0.1, "logit_bias": (),
}  # fmt: skip
ORDER = [
    "penalties",
    "dry",
    "top_n_sigma",
    "top_k",
    "typ_p",
    "top_p",
    "min_p",
    "xtc",
    "temperature",
]
VALUES = {
    "temperature": (0.0, 0.3, 1.0, 1.5, -1),
    "dynatemp_range": (0, 0.2, 0.5, 2.0),
    "dynatemp_exponent": (0.5, 1.0, 2.0),
    "top_k": (-1, 0, 1, 5, 40),
    "top_p": (0.3, 0.9, 1.0),
    "min_p": (0.0, 0.02, 0.3),
    "typical_p": (0.3, 0.9, 1.0),
    "top_n_sigma": (-1, 0, 0.7, 1.5),
    "xtc_probability": (0, 0.3, 1),
    "xtc_threshold": (0.05, 0.2, 0.6),
    "repeat_last_n": (-1, 0, 7, 64),
    "repeat_penalty": (0.8, 1.0, 1.4),
    "frequency_penalty": (-0.2, 0.0, 0.4),
    "presence_penalty": (0.0, 0.6),
    "dry_multiplier": (0.0, 0.8),
    "dry_base": (1.3, 2.0),
    "dry_allowed_length": (1, 2, 4),
    "dry_penalty_last_n": (-1, 0, 9),
    "mirostat": (0, 0, 0, 2),
    "mirostat_tau": (1.5, 5.0),
    "mirostat_eta": (0.1, 0.3),
}
FLAGS = {
    "temperature": "--temp", "dynatemp_range": "--dynatemp-range", "typical_p": "--typical",
    "dynatemp_exponent": "--dynatemp-exp", "top_n_sigma": "--top-nsigma", "top_k": "--top-k",
    "top_p": "--top-p", "min_p": "--min-p", "xtc_probability": "--xtc-probability",
    "xtc_threshold": "--xtc-threshold", "repeat_last_n": "--repeat-last-n",
    "repeat_penalty": "--repeat-penalty", "frequency_penalty": "--frequency-penalty",
    "presence_penalty": "--presence-penalty", "dry_multiplier": "--dry-multiplier",
    "dry_base": "--dry-base", "dry_allowed_length": "--dry-allowed-length",
    "dry_penalty_last_n": "--dry-penalty-last-n", "mirostat": "--mirostat",
    "mirostat_tau": "--mirostat-ent", "mirostat_eta": "--mirostat-lr",
}  # fmt: skip
OF_OLLAMA = (
    "temperature", "top_k", "top_p", "min_p", "typical_p", "repeat_last_n", "repeat_penalty",
    "frequency_penalty", "presence_penalty",
)  # fmt: skip


def stages(vocabulary, settings):
    """Yield llama.cpp's samplers in the order of `common_sampler_init`."""
    o = DEFAULTS | settings
    size = llama.llama_vocab_n_tokens(vocabulary)
    last, window = (
        CONTEXT if o[k] == -1 else o[k] for k in ("repeat_last_n", "dry_penalty_last_n")
    )
    biases = [(i, -np.inf if b is False else b) for i, b in o["logit_bias"]]
    records = (llama.llama_logit_bias * len(biases))(*(llama.llama_logit_bias(*b) for b in biases))
    yield llama.llama_sampler_init_logit_bias(size, len(biases), records)
    if o["mirostat"] == 2:
        yield llama.llama_sampler_init_temp(o["temperature"])
        yield llama.llama_sampler_init_mirostat_v2(0, o["mirostat_tau"], o["mirostat_eta"])
        return
    breakers = (ctypes.c_char_p * len(BREAKERS))(*(word.encode() for word in BREAKERS))
    make = {
        "penalties": lambda: llama.llama_sampler_init_penalties(
            size, last, o["repeat_penalty"], o["frequency_penalty"], o["presence_penalty"]
        ),
        "dry": lambda: llama.llama_sampler_init_dry(
            *(vocabulary, o["dry_multiplier"], o["dry_base"], o["dry_allowed_length"], window),
            *(breakers, len(BREAKERS)),
        ),
        "top_n_sigma": lambda: llama.llama_sampler_init_top_n_sigma(o["top_n_sigma"]),
        "top_k": lambda: llama.llama_sampler_init_top_k(o["top_k"]),
        "typ_p": lambda: llama.llama_sampler_init_typical(o["typical_p"], 0),
        "top_p": lambda: llama.llama_sampler_init_top_p(o["top_p"], 0),
        "min_p": lambda: llama.llama_sampler_init_min_p(o["min_p"], 0),
        "xtc": lambda: llama.llama_sampler_init_xtc(o["xtc_probability"], o["xtc_threshold"], 0, 0),
        "temperature": lambda: llama.llama_sampler_init_temp_ext(
            o["temperature"], o["dynatemp_range"], o["dynatemp_exponent"]
        ),
    }
    for name in settings.get("samplers", ORDER):
        yield make[name]()


def distribution(vocabulary, settings, logits, tokens, drop):
    """Return llama.cpp's (vocabulary,) probabilities after the tokens of a text.

    Args:
        drop: take candidates of minus infinity out of the list after each stage.
    """
    records = (llama.llama_token_data * len(logits))(
        *((i, logit, 0) for i, logit in enumerate(logits.tolist()))
    )
    candidates = llama.llama_token_data_array(records, len(logits), -1, False)
    for stage in stages(vocabulary, settings):
        for token in tokens:
            llama.llama_sampler_accept(stage, int(token))
        llama.llama_sampler_apply(stage, ctypes.byref(candidates))
        llama.llama_sampler_free(stage)
        if drop:
            left = [r for r in candidates.data[: candidates.size] if r.logit > -np.inf]
            for j, (number, logit, p) in enumerate([(r.id, r.logit, r.p) for r in left]):
                candidates.data[j] = llama.llama_token_data(number, logit, p)
            candidates.size = len(left)
    result = np.full(len(logits), -np.inf)
    for record in candidates.data[: candidates.size]:
        result[record.id] = record.logit
    return corelm.softmax(result)


def random_settings(rng, keys=tuple(VALUES), lists=True):
    """Return values of some keys, perhaps biases, and perhaps a list with a sampler twice."""
    chosen = [key for key in keys if rng.random() < 0.4]
    settings = {key: VALUES[key][rng.integers(len(VALUES[key]))] for key in chosen}
    if lists and rng.random() < 0.4:
        tokens = rng.choice(200, 3, replace=False).tolist()
        settings["logit_bias"] = [[tokens[0], 2.5], [tokens[1], -3], [tokens[2], False]]
    if lists and rng.random() < 0.5:
        names = rng.permutation(ORDER)[: rng.integers(1, 10)].tolist()
        again = [name for name in names[: rng.integers(0, 3)] if name != "xtc"]  # another coin
        settings["samplers"] = names + again
    return settings


def as_flags(settings):
    """Return settings as a command line of llama.cpp."""
    words = [f"{FLAGS[key]} {value}" for key, value in settings.items() if key in FLAGS]
    for token, bias in settings.get("logit_bias", ()):
        words.append(f"-l {token}{'-inf' if bias is False else f'{bias:+}'}")
    if "samplers" in settings:
        words.append(f"--samplers '{';'.join(settings['samplers'])}'")
    return "llama-cli " + " ".join(words)


def keeps_the_impossible(settings):
    """Return True for settings in which llama.cpp counts candidates of minus infinity.

    A bias of minus infinity and top_n_sigma leave them in the list; `typical_p` and the dynamic
    temperature count them.
    """
    return bool(settings.get("logit_bias")) or settings.get("top_n_sigma", -1) > 0


def outcomes(settings):
    """Yield the outcomes of the engine's coin, each with its probability."""
    p = settings.get("xtc_probability", 0)
    for share, certain in ((p, 1), (1 - p, 0)):
        if share:
            yield share, settings | {"xtc_probability": certain}


def differences(model, read, random, defaults=None):
    """Yield random settings, and the largest difference of a probability from the engine's."""
    rng, size = np.random.default_rng(36), len(model.vocabulary)
    vocabulary = llama.llama_model_get_vocab(model.pointer)
    for _ in range(TRIALS):
        settings = random(rng)
        logits = (rng.normal(size=size) * rng.uniform(0.5, 6)).astype(np.float32)
        alphabet = rng.integers(0, size, rng.integers(1, 9))
        tokens = alphabet[rng.integers(0, len(alphabet), rng.integers(0, 101))]
        past = corelm.Context.of(tokens[None], vocabulary=model.vocabulary)
        ours = corelm.softmax(read(settings)(logits[None], past))[0]
        own = (defaults or {}) | settings
        theirs = sum(
            share * distribution(vocabulary, of_coin, logits, tokens, keeps_the_impossible(own))
            for share, of_coin in outcomes(own)
        )
        yield settings, float(np.abs(ours - theirs).max())


FORMATS = {
    "llama.cpp": (lambda s: corelm.from_settings(s, "llama.cpp").sampler, random_settings, None),
    "llama.cpp-cli": (None, random_settings, None),
    "ollama": (
        lambda s: corelm.from_settings({"options": s}, "ollama").sampler,
        lambda rng: random_settings(rng, OF_OLLAMA, lists=False),
        {"top_p": 0.9, "min_p": 0.0},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_random_settings_are_those_of_the_engine(name, model, tmp_path):
    read, random, defaults = FORMATS[name]

    def read_flags(settings):
        file = tmp_path / "flags.txt"
        file.write_text(as_flags(settings))
        return corelm.from_settings(file).sampler

    found = differences(model, read or read_flags, random, defaults)
    wrong = [(settings, d) for settings, d in found if d > 1e-4]
    assert not wrong


def test_a_sampler_that_is_listed_twice_acts_twice(model):
    settings = {"samplers": ["top_k", "temperature", "temperature"], "temperature": 1.5}
    found = corelm.from_settings(settings, "llama.cpp").sampler
    assert str(found) == "top_k(k=40) | temperature(t=1.5) | temperature(t=1.5)"
    logits = np.linspace(-3, 3, len(model.vocabulary), dtype=np.float32)
    vocabulary = llama.llama_model_get_vocab(model.pointer)
    theirs = distribution(vocabulary, settings, logits, [], drop=False)
    np.testing.assert_allclose(corelm.sampling_distribution(found, logits), theirs, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "least"),
    [
        ({"logit_bias": [[5, False]], "typical_p": 0.5, "samplers": ["typ_p"]}, 0.1),
        ({"top_n_sigma": 1.5, "typical_p": 0.7, "top_k": 0}, 1e-3),
        ({"top_n_sigma": 1, "top_k": 0, "top_p": 1, "min_p": 0, "dynatemp_range": 0.3}, 1e-3),
    ],
)
def test_only_candidates_of_minus_infinity_make_a_difference(settings, least, model):
    """llama.cpp leaves them in its list after a bias or top_n_sigma; two stages count them."""
    sampler = corelm.from_settings(settings, "llama.cpp").sampler
    vocabulary = llama.llama_model_get_vocab(model.pointer)
    rng, gaps = np.random.default_rng(1), {False: [], True: []}
    for _ in range(50):
        logits = (rng.normal(size=len(model.vocabulary)) * 3).astype(np.float32)
        ours = corelm.sampling_distribution(sampler, logits)
        for drop in gaps:
            theirs = distribution(vocabulary, settings, logits, [], drop)
            gaps[drop].append(np.abs(ours - theirs).max())
    assert max(gaps[False]) > least
    assert max(gaps[True]) < 1e-5


def test_what_llama_cpp_does_differently_is_noted():
    banned = {"logit_bias": [[5, False]], "typical_p": 0.5}
    found = corelm.from_settings(banned, "llama.cpp")
    assert found.inexact == {"typical_p": "there it also counts the tokens that ban has removed"}
    wide = {"top_n_sigma": 1, "dynatemp_range": 0.3, "top_p": 1, "min_p": 0}
    assert [*corelm.from_settings(wide, "llama.cpp").inexact] == ["dynatemp_range"]
    for same in (wide | {"min_p": 0.1}, {"typical_p": 0.5, "logit_bias": [[5, -9]]}):
        assert not corelm.from_settings(same, "llama.cpp").inexact


# ---- the preset ----


PRESET = [
    ({}, {}),
    (
        {"repeat_penalty": 1.3, "frequency_penalty": 0.2, "presence_penalty": 0.3},
        {
            "repetition_penalty(penalty=1.0": "repetition_penalty(penalty=1.3",
            "frequency_penalty(penalty=0.0": "frequency_penalty(penalty=0.2",
            "presence_penalty(penalty=0.0": "presence_penalty(penalty=0.3",
        },
    ),
    ({"dry_multiplier": 0.8}, {"multiplier=0.0": "multiplier=0.8"}),
    ({"top_n_sigma": 1.0}, {"n=inf": "n=1.0"}),
    ({"typical_p": 0.7}, {"typical(p=1.0)": "typical(p=0.7)"}),
    ({"xtc_probability": 1.0}, {"xtc(probability=0.0": "xtc(probability=1.0"}),
    ({"temperature": 1.7}, {"t=0.8": "t=1.7"}),
    (
        {"top_k": 0, "top_p": 1.0, "min_p": 0.0},
        {"top_k(k=40)": "top_k(k=0)", "top_p(p=0.95)": "top_p(p=1.0)", "p=0.05": "p=0.0"},
    ),
]
"""Settings of llama.cpp, and the changes to the preset's expression that say the same."""


@pytest.mark.parametrize(("settings", "changes"), PRESET)
def test_the_preset_gives_the_distribution_of_llama_cpp(settings, changes, model):
    text = corelm.presets()["llama.cpp"]
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new, 1)
    sampler = corelm.sampler(text)
    trials = differences(model, lambda _: sampler, lambda _: settings)
    assert max(difference for _, difference in trials) < 1e-5
