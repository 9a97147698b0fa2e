"""Public names for trainers and exporters of corelm's own models: networks, tokens, files."""

from corelm.models import bundle as bundle
from corelm.models.bundle import Bundle as Bundle
from corelm.models.bundle import check_target as check_target
from corelm.models.bundle import describe as describe
from corelm.models.corpus import Corpus as Corpus
from corelm.models.corpus import corpus as corpus
from corelm.models.networks import Architecture as Architecture
from corelm.models.networks.kinds import weights_below as weights_below
from corelm.models.networks.layers import Weights as Weights
from corelm.models.sliding_window import SlidingWindow as SlidingWindow
from corelm.models.vocabularies import ALPHABET as ALPHABET
from corelm.models.vocabularies import BYTE_PAIRS as BYTE_PAIRS
from corelm.models.vocabularies import FIRST_MERGE as FIRST_MERGE
from corelm.models.vocabularies import TOKENS as TOKENS
from corelm.models.vocabularies import BytePairVocabulary as BytePairVocabulary
from corelm.models.vocabularies import Merge as Merge
from corelm.models.vocabularies import StoredVocabulary as StoredVocabulary
from corelm.models.vocabularies import read_vocabulary as read_vocabulary
from corelm.models.word_vocabulary import DASH as DASH
from corelm.models.word_vocabulary import MARKED as MARKED
from corelm.models.word_vocabulary import PADDING as PADDING
from corelm.models.word_vocabulary import UNKNOWN as UNKNOWN
from corelm.models.word_vocabulary import WordVocabulary as WordVocabulary

__all__ = [
    "ALPHABET",
    "BYTE_PAIRS",
    "DASH",
    "FIRST_MERGE",
    "MARKED",
    "PADDING",
    "TOKENS",
    "UNKNOWN",
    "Architecture",
    "Bundle",
    "BytePairVocabulary",
    "Corpus",
    "Merge",
    "SlidingWindow",
    "StoredVocabulary",
    "Weights",
    "WordVocabulary",
    "bundle",
    "check_target",
    "corpus",
    "describe",
    "read_vocabulary",
    "weights_below",
]
