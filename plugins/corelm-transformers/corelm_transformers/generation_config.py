"""The generation settings of a model as a chain of samplers, and back."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

import corelm
from corelm import CorelmError, ParameterError, Sampler

logger = logging.getLogger("corelm.transformers")

FILE = "generation_config.json"
LARGEST_FILE = 2**20


@dataclass(frozen=True)
class Setting:
    """A field of the settings, and the parameter of a sampler that does the same.

    Attributes:
        field: its name in `GenerationConfig`.
        sampler: the registered name of the sampler.
        parameter: the parameter of the sampler.
        off: the value that switches it off in transformers.
        read: turns the value of the field into that of the parameter; None if it has no
            counterpart.
        write: turns it back; None if it has no counterpart.
    """

    field: str
    sampler: str
    parameter: str
    off: Any
    read: Callable[[Any], Any] = lambda value: value
    write: Callable[[Any], Any] = lambda value: value


def _single_biases(biases):
    pairs = biases.items() if isinstance(biases, dict) else biases
    pairs = [(list(ids), bias) for ids, bias in pairs]
    return {ids[0]: bias for ids, bias in pairs} if all(len(i) == 1 for i, _ in pairs) else None


def _single_words(words):
    return [ids[0] for ids in words] if all(len(ids) == 1 for ids in words) else None


def _ids(words):
    return list(words) if all(isinstance(word, int) for word in words) else None


def _biases(bias):
    ids = _ids(bias)
    return None if ids is None else {(token,): bias[token] for token in ids}


PENALTIES = (
    Setting("sequence_bias", "logit_bias", "bias", None, _single_biases, _biases),
    Setting("repetition_penalty", "repetition_penalty", "penalty", 1.0),
    Setting("no_repeat_ngram_size", "no_repeat_ngram", "n", 0),
    Setting("bad_words_ids", "ban", "words", None, _single_words, lambda words: None),
    Setting("min_new_tokens", "min_length", "n", 0),
    Setting("suppress_tokens", "ban", "words", None, _ids, _ids),
)
"""The settings that act in any case, in transformers' order."""
FILTERS = (
    Setting("temperature", "temperature", "t", 1.0),
    Setting("top_h", "top_h", "h", None),
    Setting("top_k", "top_k", "k", 0),
    Setting("top_p", "top_p", "p", 1.0),
    Setting("min_p", "min_p", "p", 0.0),
    Setting("typical_p", "typical", "p", 1.0),
    Setting("epsilon_cutoff", "epsilon", "epsilon", 0.0),
    Setting("eta_cutoff", "eta", "epsilon", 0.0),
)
"""The settings that act after them if `do_sample` is true, in transformers' order."""

WITHOUT_COUNTERPART = {
    "guidance_scale": 1,
    "encoder_repetition_penalty": 1.0,
    "encoder_no_repeat_ngram_size": 0,
    "min_length": 0,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "exponential_decay_length_penalty": None,
    "begin_suppress_tokens": None,
    "watermarking_config": None,
    "num_beams": 1,
    "num_beam_groups": 1,
    "penalty_alpha": None,
    "dola_layers": None,
    "constraints": None,
    "force_words_ids": None,
}
"""Settings that change the text, without a counterpart in corelm, and the values that are off."""


def from_generation_config(config_or_path):
    """Return the settings of a model as a sampler: a chain in transformers' order.

    A warning in the log names the settings without a counterpart. Missing settings have
    transformers' defaults, so `do_sample` without `top_k` keeps 50 tokens, and without `do_sample`
    the chain ends in `greedy`.

    Args:
        config_or_path: a `GenerationConfig`; or the path of a `generation_config.json` or of a
            model's folder; or the name of a model in the cache of Hugging Face.

    Raises:
        ParameterError: a value outside the rule of its sampler.
        CorelmError: a file that is missing or cannot be read.

    Example:
        >>> config = GenerationConfig(do_sample=True, top_p=0.9, temperature=0.7)
        >>> print(from_generation_config(config))
        temperature(t=0.7) | top_k(k=50) | top_p(p=0.9)
    """
    config = config_or_path
    if not isinstance(config, GenerationConfig):
        config = _read(os.fspath(config_or_path))
    values = {name: value for name, value in vars(config).items() if value is not None}
    values = GenerationConfig._get_default_generation_params() | values
    samples = values["do_sample"]
    settings = PENALTIES + FILTERS if samples else PENALTIES
    stages, left_out = [], []
    for setting in settings:
        value = values.get(setting.field)
        if value is None or value == setting.off:
            continue
        value = setting.read(value)
        if value is None:
            left_out.append(setting.field)
        elif value:
            stages.append(corelm.sampler(setting.sampler, **{setting.parameter: value}))
    if not samples:
        stages.append(corelm.sampler("greedy"))
    left_out += [n for n, off in WITHOUT_COUNTERPART.items() if values.get(n) not in (None, off)]
    if left_out:
        logger.warning("settings without a counterpart in corelm: %s", ", ".join(left_out))
    return _chained(stages)


def to_generation_config(sampler):
    """Return a sampler as the settings of transformers that do the same.

    Every setting is stated, so that those of a model do not shine through.

    Args:
        sampler: a sampler, a registered name or an expression.

    Raises:
        ParameterError: a stage without a counterpart, or in another order than transformers'.

    Example:
        >>> config = to_generation_config("temperature(t=0.7) | min_p(p=0.05)")
        >>> config.do_sample, config.temperature, config.min_p, config.top_k
        (True, 0.7, 0.05, 0)
        >>> to_generation_config("min_p(p=0.05) | temperature(t=0.7)")
        Traceback (most recent call last):
        corelm.errors.ParameterError: transformers applies temperature before min_p
    """
    stages = [s for s in corelm.sampler(sampler).active_stages if not _is(s, "stochastic")]
    greedy = bool(stages) and _is(stages[-1], "greedy")
    if greedy:  # what keeps the most likely token in its place changes nothing before it
        stages = [stage for stage in stages[:-1] if not stage.is_argmax_invariant]
    settings = PENALTIES if greedy else PENALTIES + FILTERS
    values = {setting.field: setting.off for setting in settings}
    last = -1
    for stage in stages:
        index, value = _counterpart(stage, settings)
        if index <= last:
            raise ParameterError(
                f"transformers applies {stage.name} before {settings[last].sampler}"
                if index < last
                else f"transformers applies {stage.name} only once"
            )
        values[settings[index].field], last = value, index
    return GenerationConfig(do_sample=not greedy, **values)


def _read(path):
    """Return the settings in a file, a folder or the cache."""
    file = Path(path) / FILE if os.path.isdir(path) else Path(path)
    try:
        if not file.is_file():
            return GenerationConfig.from_pretrained(path, local_files_only=True)
        if file.stat().st_size > LARGEST_FILE:
            raise CorelmError(f"more than {LARGEST_FILE} bytes")
        return GenerationConfig.from_pretrained(file.parent, file.name)
    except Exception as error:  # of any library: they have no common root
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CorelmError(f"cannot read the settings in {path}: {line}") from error


def _counterpart(stage, settings):
    """Return the place of a stage among the settings, and the value of its field."""
    for index, setting in enumerate(settings):
        if _is(stage, setting.sampler):
            value = getattr(stage, setting.parameter)
            alike = type(stage)(**{setting.parameter: value}) == stage
            if alike and (value := setting.write(value)) is not None:
                return index, value
    raise ParameterError(f"{stage} has no counterpart in transformers")


def _is(stage, name):
    """Return True if a stage is corelm's own sampler of this name."""
    return type(stage) is type(corelm.sampler(name))


def _chained(stages) -> Sampler:
    if not stages:
        return corelm.sampler("stochastic")
    chain = stages[0]
    for stage in stages[1:]:
        chain = chain | stage
    return chain
