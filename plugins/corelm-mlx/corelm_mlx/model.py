"""A model of mlx-lm as a language model of corelm."""

from corelm.interop import CachedSession, DisplayableModel, PaddedSession, check_session
from corelm.runs import start_rows
from corelm_mlx.cache import MlxCache, PaddedMlxCache
from corelm_mlx.vocabulary import vocabulary_from

UNLIMITED = 2**31
"""The context length of a model whose configuration names none."""
LENGTHS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_seq_length")


class MlxModel(DisplayableModel):
    """A model of mlx-lm, with its tokenizer.

    Its sessions use mlx-lm's own prompt cache, and are tried once on a few tokens. Texts begin with
    the token that the tokenizer puts before them; chat templates are yours to apply.

    Args:
        model: a model of mlx-lm, such as `mlx_lm.load` returns.
        tokenizer: the model's.
        ends: the ids that end a text; None for `tokenizer.eos_token_ids`.

    Attributes:
        vocabulary: the tokens of the tokenizer.
        context_length: the largest number of tokens that the model attends to.

    Raises:
        CorelmError: a tokenizer with more tokens than the model has logits, or a model whose cache
            doesn't hold all of its state.
    """

    def __init__(self, model, tokenizer, *, ends=None):
        size = _setting(model, ("vocab_size",)) or len(tokenizer)
        self._model = model
        self.vocabulary = vocabulary_from(tokenizer, ends, size)
        self.context_length = _setting(model, LENGTHS) or UNLIMITED
        name = type(model).__module__.rpartition(".")[2]
        # A model that counts positions itself, or has a recurrent state, allows no padding.
        start_rows = self._start_padded if PaddedMlxCache.fits(model) else None
        self._pads = check_session(self._start_equal, size, name, start_rows=start_rows)

    def start(self, tokens):
        """Start a decoding session for (batch, time) ids, or a list of ids for each row."""
        if self._pads:
            return self._start_padded(tokens)
        return start_rows(self._start_equal, tokens)

    def _start_padded(self, tokens):
        cache = PaddedMlxCache(self._model)
        return PaddedSession(cache, tokens, self.vocabulary, self.context_length, self._model)

    def _start_equal(self, tokens):
        return CachedSession(MlxCache(self._model), tokens, self.vocabulary, self.context_length)


def _setting(model, names):
    """Return the first of these settings that the model's configuration has; None without one."""
    args = getattr(model, "args", None)
    # A model that also reads images nests its text settings.
    text = getattr(args, "text_config", None)
    places = [text if isinstance(text, dict) else {}, vars(args) if args is not None else {}]
    values = (place.get(name) for place in places for name in names)
    return next((value for value in values if isinstance(value, int)), None)
