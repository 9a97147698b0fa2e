from corelm.abilities.optional import FullVocabulary as FullVocabulary
from corelm.abilities.optional import can as can
from corelm.abilities.sessions import SessionWrapper as SessionWrapper
