"""Convert between a model's generation settings and chains of samplers."""

import logging
import os
from pathlib import Path

from transformers import GenerationConfig

import corelm
from corelm import CorelmError
from corelm.runs import printable

logger = logging.getLogger("corelm.transformers")

ENGINE = "transformers"
FILE = "generation_config.json"
LARGEST_FILE = 2**20


def from_generation_config(config_or_path):
    """Return the settings of a model as a sampler: a chain in transformers' order.

    A warning in the log names the settings without a counterpart. Missing settings have
    transformers' defaults, so `do_sample` without `top_k` keeps 50 tokens, and without `do_sample`
    the chain ends in `greedy`. `corelm.from_settings` reads files without transformers.

    Args:
        config_or_path: a `GenerationConfig`; or the path of a `generation_config.json` or of a
            model's folder; or the name of a model in the cache of Hugging Face.

    Raises:
        CorelmError: a file that is missing or cannot be read, or a value outside the rule of its
            sampler.

    Example:
        >>> config = GenerationConfig(do_sample=True, top_p=0.9, temperature=0.7)
        >>> print(from_generation_config(config))
        temperature(t=0.7) | top_k(k=50) | top_p(p=0.9)
    """
    config = config_or_path
    if not isinstance(config, GenerationConfig):
        config = _read(os.fspath(config_or_path))
    settings = corelm.from_settings(vars(config), ENGINE)
    if settings.unsupported:
        names = ", ".join(sorted(settings.unsupported))
        logger.warning("settings without a counterpart in corelm: %s", names)
    return settings.sampler


def to_generation_config(sampler):
    """Write a sampler as the settings of transformers that do the same.

    Every setting is stated, so that no setting of a model takes its place.

    Args:
        sampler: a sampler, a registered name or an expression.

    Raises:
        SettingsError: a stage without a counterpart, or in another order than transformers'.

    Example:
        >>> config = to_generation_config("temperature(t=0.7) | min_p(p=0.05)")
        >>> config.do_sample, config.temperature, config.min_p, config.top_k
        (True, 0.7, 0.05, 0)
        >>> to_generation_config("top_p(p=0.9) | temperature(t=0.7)")
        Traceback (most recent call last):
        corelm.errors.SettingsError: transformers applies temperature before top_p
    """
    return GenerationConfig(**corelm.to_settings(sampler, ENGINE))


def _read(path):
    """Return the settings in a file, a folder or the cache."""
    file = Path(path) / FILE if os.path.isdir(path) else Path(path)
    try:
        if not file.is_file():
            return GenerationConfig.from_pretrained(path, local_files_only=True)
        if file.stat().st_size > LARGEST_FILE:
            raise CorelmError(f"more than {LARGEST_FILE} bytes")
        return GenerationConfig.from_pretrained(file.parent, file.name)
    except Exception as error:  # a library's error, of any type
        reason = printable.shown(error)
        raise CorelmError(f"cannot read the settings in {path}: {reason}") from error
