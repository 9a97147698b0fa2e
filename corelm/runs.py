"""The public names for programs that drive many texts: reports, servers, harnesses, other engines.

A sampler, a decoder or a metric needs `corelm` and `corelm.filters` alone.
"""

from corelm.abilities import END as END
from corelm.bounded_calls import BoundedCalls as BoundedCalls
from corelm.bounded_calls import TooMuchError as TooMuchError
from corelm.decoding.context_builder import ContextBuilder as ContextBuilder
from corelm.decoding.model_logits import ModelLogits as ModelLogits
from corelm.decoding.random_stream import fresh_seed as fresh_seed
from corelm.decoding.step import FinishReason as FinishReason
from corelm.decoding.step import model_surprisals as model_surprisals
from corelm.docstrings import source_of as source_of
from corelm.generation.continuous_batch import BatchedTexts as BatchedTexts
from corelm.generation.continuous_batch import ContinuousBatch as ContinuousBatch
from corelm.generation.continuous_batch import write_in_order as write_in_order
from corelm.generation.endings import Endings as Endings
from corelm.generation.endings import ends_in_loop as ends_in_loop
from corelm.generation.generate import BATCH as BATCH
from corelm.generation.generate import Texts as Texts
from corelm.generation.generate import batches as batches
from corelm.generation.generate import steps as steps
from corelm.generation.grouped_session import start_rows as start_rows
from corelm.generation.open_texts import OpenTexts as OpenTexts
from corelm.generation.prefix_cache import PrefixCache as PrefixCache
from corelm.generation.prompts import default_prompt as default_prompt
from corelm.generation.prompts import encoded as encoded
from corelm.generation.prompts import prompt_notes as prompt_notes
from corelm.generation.prompts import unknown_words as unknown_words
from corelm.generation.teacher_forcing import ForcedTokens as ForcedTokens
from corelm.generation.teacher_forcing import prompt_and_text as prompt_and_text
from corelm.generation.teacher_forcing import read_logits as read_logits
from corelm.generation.teacher_forcing import teacher_forced as teacher_forced
from corelm.language_model import never_drawn as never_drawn
from corelm.linting import temperature_of as temperature_of
from corelm.machine import machine as machine
from corelm.machine import platform_name as platform_name
from corelm.machine import processor_flags as processor_flags
from corelm.markup import Displayable as Displayable
from corelm.markup import Table as Table
from corelm.models import atomic_files as atomic_files
from corelm.models.atomic_files import error_reason as error_reason
from corelm.models.atomic_files import remove_leftovers as remove_leftovers
from corelm.models.atomic_files import sha256 as sha256
from corelm.models.atomic_files import try_lock as try_lock
from corelm.models.atomic_files import write_file as write_file
from corelm.models.corpus import read_texts as read_texts
from corelm.models.human import human_surprisal as human_surprisal
from corelm.models.identity import checksum_of as checksum_of
from corelm.models.identity import digest_of_texts as digest_of_texts
from corelm.models.identity import identity_of as identity_of
from corelm.models.identity import manifest_of as manifest_of
from corelm.native.cpu import cpu_limit as cpu_limit
from corelm.numerics.divergences import DIVERGENCES as DIVERGENCES
from corelm.numerics.divergences import LEAST as LEAST
from corelm.numerics.divergences import Compared as Compared
from corelm.numerics.divergences import ModelRows as ModelRows
from corelm.numerics.divergences import moments as moments
from corelm.numerics.divergences import nan_if_impossible as nan_if_impossible
from corelm.numerics.divergences import without_tokens as without_tokens
from corelm.numerics.filters import rank as rank
from corelm.params import Parameter as Parameter
from corelm.params import Parameterized as Parameterized
from corelm.params import ParamRule as ParamRule
from corelm.params import refuse_local as refuse_local
from corelm.params import written as written
from corelm.paths import home as home
from corelm.paths import open_input as open_input
from corelm.printable import LONGEST as LONGEST
from corelm.printable import counted as counted
from corelm.printable import did_you_mean as did_you_mean
from corelm.printable import one_line as one_line
from corelm.printable import printable as printable
from corelm.printable import reason_of as reason_of
from corelm.printable import shown as shown
from corelm.registry.expressions import DEEPEST as DEEPEST
from corelm.registry.expressions import MOST_CHARACTERS as MOST_CHARACTERS
from corelm.registry.expressions import STAGE as STAGE
from corelm.registry.expressions import ParsedSampler as ParsedSampler
from corelm.registry.expressions import ParsedStage as ParsedStage
from corelm.registry.expressions import build as build
from corelm.registry.expressions import built_in as built_in
from corelm.registry.expressions import make as make
from corelm.registry.expressions import parameters_of as parameters_of
from corelm.registry.expressions import read_stages as read_stages
from corelm.registry.expressions import split_at as split_at
from corelm.registry.loading import plugin_errors as plugin_errors
from corelm.registry.models import MODEL as MODEL
from corelm.registry.models import as_model as as_model
from corelm.registry.models import label as label
from corelm.registry.models import list_models as list_models
from corelm.registry.models import loaded_name as loaded_name
from corelm.registry.models import local_models as local_models
from corelm.registry.models import plugin_of as plugin_of
from corelm.registry.offers import Offer as Offer
from corelm.registry.offers import Source as Source
from corelm.registry.registry import registry as registry
from corelm.registry.strategies import Strategy as Strategy
from corelm.registry.strategies import parts as parts
from corelm.registry.strategies import strategy as strategy
from corelm.scaling.code_digests import as_settings as as_settings
from corelm.scaling.code_digests import code_of as code_of
from corelm.scaling.code_digests import loader_of as loader_of
from corelm.scaling.executor import Executor as Executor
from corelm.scaling.executor import ExecutorChoice as ExecutorChoice
from corelm.scaling.executor import Unit as Unit
from corelm.scaling.executor import choose as choose
from corelm.scaling.job import SAME_BITS as SAME_BITS
from corelm.scaling.job import Job as Job
from corelm.scaling.job import differences as differences
from corelm.scaling.job import hashes_of_secrets as hashes_of_secrets
from corelm.stages import StageResult as StageResult
from corelm.stages import apply as apply
from corelm.stages import invalid_result as invalid_result
from corelm.stages import run_stages as run_stages

__all__ = [
    "BATCH",
    "DEEPEST",
    "DIVERGENCES",
    "END",
    "LEAST",
    "LONGEST",
    "MODEL",
    "MOST_CHARACTERS",
    "SAME_BITS",
    "STAGE",
    "BatchedTexts",
    "BoundedCalls",
    "Compared",
    "ContextBuilder",
    "ContinuousBatch",
    "Displayable",
    "Endings",
    "Executor",
    "ExecutorChoice",
    "FinishReason",
    "ForcedTokens",
    "Job",
    "ModelLogits",
    "ModelRows",
    "Offer",
    "OpenTexts",
    "ParamRule",
    "Parameter",
    "Parameterized",
    "ParsedSampler",
    "ParsedStage",
    "PrefixCache",
    "Source",
    "StageResult",
    "Strategy",
    "Table",
    "Texts",
    "TooMuchError",
    "Unit",
    "apply",
    "as_model",
    "as_settings",
    "atomic_files",
    "batches",
    "build",
    "built_in",
    "checksum_of",
    "choose",
    "code_of",
    "counted",
    "cpu_limit",
    "default_prompt",
    "did_you_mean",
    "differences",
    "digest_of_texts",
    "encoded",
    "ends_in_loop",
    "error_reason",
    "fresh_seed",
    "hashes_of_secrets",
    "home",
    "human_surprisal",
    "identity_of",
    "invalid_result",
    "label",
    "list_models",
    "loaded_name",
    "loader_of",
    "local_models",
    "machine",
    "make",
    "manifest_of",
    "model_surprisals",
    "moments",
    "nan_if_impossible",
    "never_drawn",
    "one_line",
    "open_input",
    "parameters_of",
    "parts",
    "platform_name",
    "plugin_errors",
    "plugin_of",
    "printable",
    "processor_flags",
    "prompt_and_text",
    "prompt_notes",
    "rank",
    "read_logits",
    "read_stages",
    "read_texts",
    "reason_of",
    "refuse_local",
    "registry",
    "remove_leftovers",
    "run_stages",
    "sha256",
    "shown",
    "source_of",
    "split_at",
    "start_rows",
    "steps",
    "strategy",
    "teacher_forced",
    "temperature_of",
    "try_lock",
    "unknown_words",
    "without_tokens",
    "write_file",
    "write_in_order",
    "written",
]
