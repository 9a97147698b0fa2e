"""Public names for programs that generate many texts: reports, servers, harnesses, engines.

A sampler, a decoder or a metric needs `corelm` and `corelm.filters` alone. Some names are modules:
what belongs to one matter is used with its name, as in `scaling.Job` and `printable.one_line`. Each
lists its public names.
"""

from corelm import machine as machine
from corelm import markup as markup
from corelm import params as params
from corelm import paths as paths
from corelm import printable as printable
from corelm import scaling as scaling
from corelm import stages as chain_stages
from corelm.bounded_calls import BoundedCalls as BoundedCalls
from corelm.context import ContextBuilder as ContextBuilder
from corelm.decoding.step import ModelLogits as ModelLogits
from corelm.generation import prompts as prompting
from corelm.generation import teacher_forcing as teacher_forcing
from corelm.generation.continuous_batch import ContinuousBatch as ContinuousBatch
from corelm.generation.endings import Endings as Endings
from corelm.generation.generate import Texts as Texts
from corelm.generation.generate import steps as steps
from corelm.generation.grouped_session import start_rows as start_rows
from corelm.generation.open_texts import OpenTexts as OpenTexts
from corelm.generation.prefix_cache import PrefixCache as PrefixCache
from corelm.linting import temperature_of as temperature_of
from corelm.models import atomic_files as atomic_files
from corelm.models import identity as identity
from corelm.models.human import human_surprisal as human_surprisal
from corelm.numerics import divergences as divergences
from corelm.registry import expressions as expressions
from corelm.registry import models as named_models
from corelm.registry import plugins as plugins
from corelm.registry.strategies import Strategy as Strategy

__all__ = [
    "BoundedCalls",
    "ContextBuilder",
    "ContinuousBatch",
    "Endings",
    "ModelLogits",
    "OpenTexts",
    "PrefixCache",
    "Strategy",
    "Texts",
    "atomic_files",
    "chain_stages",
    "divergences",
    "expressions",
    "human_surprisal",
    "identity",
    "machine",
    "markup",
    "named_models",
    "params",
    "paths",
    "plugins",
    "printable",
    "prompting",
    "scaling",
    "start_rows",
    "steps",
    "teacher_forcing",
    "temperature_of",
]
