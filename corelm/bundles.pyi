from corelm.models.bundle import Bundle as Bundle
from corelm.models.byte_pairs import BytePairVocabulary as BytePairVocabulary
from corelm.models.contents import StoredVocabulary as StoredVocabulary
from corelm.models.corpus import Corpus as Corpus
from corelm.models.networks.base import Architecture as Architecture
from corelm.models.sliding_window import SlidingWindow as SlidingWindow
from corelm.models.word_vocabulary import WordVocabulary as WordVocabulary
