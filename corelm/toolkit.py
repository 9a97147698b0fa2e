"""The second ring of public names: for models, adapters, executors and reports.

A sampler, a decoder or a metric needs `corelm` and `corelm.filters` alone. corelm's guests (models,
training, reports, interop, scaling and the others) take these names from the heart and no others,
as a third-party package can.
"""

from corelm.caching import cached_property as cached_property
from corelm.context import protect as protect
from corelm.decoding.context_builder import ContextBuilder as ContextBuilder
from corelm.decoding.random_stream import fresh_seed as fresh_seed
from corelm.decoding.state import ModelLogits as ModelLogits
from corelm.decoding.step import FinishReason as FinishReason
from corelm.decoding.step import model_surprisals as model_surprisals
from corelm.docstrings import source_of as source_of
from corelm.generation.constraint import mass_of as mass_of
from corelm.generation.detokenizer import text_writer as text_writer
from corelm.generation.generate import BATCH as BATCH
from corelm.generation.generate import Texts as Texts
from corelm.generation.generate import batches as batches
from corelm.generation.generate import steps as steps
from corelm.generation.loops import ends_in_loop as ends_in_loop
from corelm.generation.open_texts import OpenTexts as OpenTexts
from corelm.generation.prompts import default_prompt as default_prompt
from corelm.generation.prompts import encoded as encoded
from corelm.generation.prompts import prompt_notes as prompt_notes
from corelm.generation.prompts import unknown_words as unknown_words
from corelm.language_model import never_drawn as never_drawn
from corelm.language_model import same_vocabulary as same_vocabulary
from corelm.language_model import window_start as window_start
from corelm.machine import machine as machine
from corelm.machine import platform_name as platform_name
from corelm.machine import processor_flags as processor_flags
from corelm.native.cpu import cpu_limit as cpu_limit
from corelm.numerics.distributions import rows_are_valid as rows_are_valid
from corelm.numerics.portability import runs_on as runs_on
from corelm.numerics.ranking import in_falling_order as in_falling_order
from corelm.numerics.ranking import rank as rank
from corelm.params import Parameter as Parameter
from corelm.params import Parameterized as Parameterized
from corelm.params import Rule as Rule
from corelm.params import renamed as renamed
from corelm.params import written as written
from corelm.paths import home as home
from corelm.paths import open_input as open_input
from corelm.plugins.expressions import DEEPEST as DEEPEST
from corelm.plugins.expressions import MOST_CHARACTERS as MOST_CHARACTERS
from corelm.plugins.expressions import STAGE as STAGE
from corelm.plugins.expressions import Nested as Nested
from corelm.plugins.expressions import Written as Written
from corelm.plugins.expressions import build as build
from corelm.plugins.expressions import built_in as built_in
from corelm.plugins.expressions import parameters_of as parameters_of
from corelm.plugins.expressions import read_stages as read_stages
from corelm.plugins.expressions import split_at as split_at
from corelm.plugins.loading import plugin_errors as plugin_errors
from corelm.plugins.loading import stdout_to_stderr as stdout_to_stderr
from corelm.plugins.models import MODEL as MODEL
from corelm.plugins.models import SHIPPED as SHIPPED
from corelm.plugins.models import Listed as Listed
from corelm.plugins.models import as_model as as_model
from corelm.plugins.models import is_path as is_path
from corelm.plugins.models import label as label
from corelm.plugins.models import list_models as list_models
from corelm.plugins.models import loaded_name as loaded_name
from corelm.plugins.models import local_models as local_models
from corelm.plugins.models import plugin_of as plugin_of
from corelm.plugins.offers import Offer as Offer
from corelm.plugins.offers import Source as Source
from corelm.plugins.registry import Registry as Registry
from corelm.plugins.registry import registry as registry
from corelm.plugins.strategies import Strategy as Strategy
from corelm.plugins.strategies import parts as parts
from corelm.plugins.strategies import strategy as strategy
from corelm.printable import LONGEST as LONGEST
from corelm.printable import did_you_mean as did_you_mean
from corelm.printable import differences as differences
from corelm.printable import one_line as one_line
from corelm.printable import printable as printable
from corelm.printable import reason_of as reason_of
from corelm.printable import shown as shown
from corelm.stages import StageResult as StageResult
from corelm.stages import Trace as Trace
from corelm.stages import apply as apply
from corelm.stages import invalid_result as invalid_result
from corelm.stages import run_stages as run_stages
from corelm.validation import check_logits as check_logits
from corelm.validation import fault_of_result as fault_of_result
from corelm.word_vocabulary import DASH as DASH
from corelm.word_vocabulary import END as END
from corelm.word_vocabulary import MARKED as MARKED
from corelm.word_vocabulary import PADDING as PADDING
from corelm.word_vocabulary import STYLES as STYLES
from corelm.word_vocabulary import UNKNOWN as UNKNOWN
from corelm.word_vocabulary import WordVocabulary as WordVocabulary

__all__ = sorted(name for name in vars() if name[0] != "_")
