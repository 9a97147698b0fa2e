from corelm.testing.all_laws import LAWS as LAWS
from corelm.testing.all_laws import obeys_the_laws as obeys_the_laws
from corelm.testing.enumeration import g_test as g_test
from corelm.testing.enumeration import text_probabilities as text_probabilities
from corelm.testing.toy_model import ToyModel as ToyModel
