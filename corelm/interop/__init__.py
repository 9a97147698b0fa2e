"""The toolkit for adapters of other engines: a sampler in an engine's loop, a session on its model.

It also reads tokenizers and chat templates, finds models on this machine, names the version of an
engine that works (`requirements`), and imports TensorFlow without its messages.
"""

from corelm.interop import requirements
from corelm.interop.cached_session import CachedSession
from corelm.interop.chain_text import chain_text
from corelm.interop.chat_template import ChatTemplate
from corelm.interop.engine_sampler import EngineDraw, EngineSampler
from corelm.interop.padded_session import PaddedSession
from corelm.interop.session_trial import check_session
from corelm.interop.tensorflow_log import quiet_tensorflow
from corelm.interop.tokenizer_vocabulary import special_tokens, vocabulary_of
from corelm.models.draws_ahead import DrawsAhead
from corelm.registry.models import DisplayableModel

__all__ = [
    "CachedSession",
    "ChatTemplate",
    "DisplayableModel",
    "DrawsAhead",
    "EngineDraw",
    "EngineSampler",
    "PaddedSession",
    "chain_text",
    "check_session",
    "quiet_tensorflow",
    "requirements",
    "special_tokens",
    "vocabulary_of",
]
