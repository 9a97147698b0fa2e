"""Public names for trainers and exporters of corelm's own models: networks, tokens, files.

All but one are modules, each of which lists its public names.
"""

from corelm.models import bundle as bundle
from corelm.models import corpus as corpora
from corelm.models import vocabularies as vocabularies
from corelm.models import word_vocabulary as word_vocabulary
from corelm.models.networks import Architecture as Architecture
from corelm.models.sliding_window import SlidingWindow as SlidingWindow

__all__ = [
    "Architecture",
    "SlidingWindow",
    "bundle",
    "corpora",
    "vocabularies",
    "word_vocabulary",
]
