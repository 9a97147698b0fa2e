"""The toolkit for adapters of other engines: a sampler in an engine's loop, a session on its model.

It also reads tokenizers and chat templates, finds models on this machine, names the version of an
engine that works, and imports TensorFlow without its messages.
"""

from corelm.abilities import NO_TEMPLATE
from corelm.interop.cached_session import CachedSession, KeyValueCache
from corelm.interop.chat_template import ChatTemplate
from corelm.interop.engine_sampler import EngineDraw, EngineSampler
from corelm.interop.padded_session import PaddedCache, PaddedSession
from corelm.interop.requirements import check_hub_model, check_model_folder, hub_models, requires
from corelm.interop.session_trial import check_session, row_faults, session_faults
from corelm.interop.tensorflow_log import quiet_tensorflow
from corelm.interop.tokenizer_vocabulary import special_tokens, vocabulary_of
from corelm.registry.models import DisplayableModel

__all__ = [
    "NO_TEMPLATE",
    "CachedSession",
    "ChatTemplate",
    "DisplayableModel",
    "EngineDraw",
    "EngineSampler",
    "KeyValueCache",
    "PaddedCache",
    "PaddedSession",
    "check_hub_model",
    "check_model_folder",
    "check_session",
    "hub_models",
    "quiet_tensorflow",
    "requires",
    "row_faults",
    "session_faults",
    "special_tokens",
    "vocabulary_of",
]
