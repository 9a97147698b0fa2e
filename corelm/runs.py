"""The public names for programs that drive many texts: reports, servers, harnesses, other engines.

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
from corelm.bounded_calls import BoundedCalls as BoundedCalls
from corelm.decoding.context_builder import ContextBuilder as ContextBuilder
from corelm.decoding.state import ModelLogits as ModelLogits
from corelm.generation import prompts as prompting
from corelm.generation import teacher_forcing as teacher_forcing
from corelm.generation.continuous_batch import ContinuousBatch as ContinuousBatch
from corelm.generation.endings import Endings as Endings
from corelm.generation.generate import Texts as Texts
from corelm.generation.generate import steps as steps
from corelm.generation.grouped_session import start_rows as start_rows
from corelm.generation.open_texts import OpenTexts as OpenTexts
from corelm.generation.open_texts import text_writer as text_writer
from corelm.generation.prefix_cache import PrefixCache as PrefixCache
from corelm.generation.prompts import render_chat as render_chat
from corelm.generation.prompts import token_name as token_name
from corelm.linting import temperature_of as temperature_of
from corelm.models import atomic_files as atomic_files
from corelm.models import identity as identity
from corelm.numerics import divergences as divergences
from corelm.registry import expressions as expressions
from corelm.registry import models as named_models
from corelm.registry import plugins as plugins
from corelm.registry.strategies import Strategy as Strategy
from corelm.stages import StageResult as StageResult
from corelm.stages import Trace as Trace
from corelm.stages import apply as apply
from corelm.stages import invalid_result as invalid_result
from corelm.stages import run_stages as run_stages
from corelm.token_texts import END as END
from corelm.token_texts import texts_after as texts_after

__all__ = [
    "END",
    "BoundedCalls",
    "ContextBuilder",
    "ContinuousBatch",
    "Endings",
    "ModelLogits",
    "OpenTexts",
    "PrefixCache",
    "StageResult",
    "Strategy",
    "Texts",
    "Trace",
    "apply",
    "atomic_files",
    "divergences",
    "expressions",
    "identity",
    "invalid_result",
    "machine",
    "markup",
    "named_models",
    "params",
    "paths",
    "plugins",
    "printable",
    "prompting",
    "render_chat",
    "run_stages",
    "scaling",
    "start_rows",
    "steps",
    "teacher_forcing",
    "temperature_of",
    "text_writer",
    "texts_after",
    "token_name",
]
