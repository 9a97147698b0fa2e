"""Public names for trainers and exporters of corelm's own models: networks, tokens, files."""

from corelm.models.bundle import Bundle
from corelm.models.byte_pairs import BytePairVocabulary
from corelm.models.contents import StoredVocabulary
from corelm.models.corpus import Corpus
from corelm.models.networks.base import Architecture
from corelm.models.sliding_window import SlidingWindow
from corelm.models.word_vocabulary import WordVocabulary

__all__ = [
    "Architecture",
    "Bundle",
    "BytePairVocabulary",
    "Corpus",
    "SlidingWindow",
    "StoredVocabulary",
    "WordVocabulary",
]
