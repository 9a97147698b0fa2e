"""Optional abilities of sessions and vocabularies, and the defaults for those without them.

An ability is a method: an object that has the method has the ability, and needs no base class. Only
`can` looks for the method. `FullVocabulary` calls it, or does its work without it.

| the method | without it |
|---|---|
| of a session | |
| `draw`, `expect` | `draw_next` draws from `next_logits` |
| `rewind`, `last_logits` | `Decoding.rewind` reads the text again; each token costs a pass |
| `join` | texts of different lengths are decoded one after the other |
| `join_many` | `join_all` joins neighbours first |
| `fork` | a prompt is read again each time that it comes |
| `hidden_states` | decoders and metrics that compare them refuse the model |
| of a vocabulary | |
| `writer`, `token_bytes` | `FullVocabulary.writer` decodes the whole text for each token |
| `texts_after` | `FullVocabulary.text_after` decodes the last tokens with the next one |
| `token_name` | `FullVocabulary.token_name` returns the text of the token |
| `render_chat` | `FullVocabulary.render_chat` says that the model has no chat template |
"""

from corelm.lazy import attach_stub

__getattr__, __dir__ = attach_stub(__name__)
