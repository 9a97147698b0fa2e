"""Talk with a model that has a chat template."""

from __future__ import annotations

from collections.abc import Iterator

from corelm.abilities import FullVocabulary
from corelm.contracts.language_model import LanguageModel
from corelm.contracts.step import Step
from corelm.decoding.draws import RandomStream
from corelm.errors import UsageError
from corelm.generation.generate import stream
from corelm.registry.strategies import Strategy


class Conversation:
    """A conversation with a model that has a chat template.

    Answer i has the random numbers of sample i of the seed. So a conversation can be repeated, and
    an undone question gets the same answer.

    Args:
        model: the language model.
        strategy: the sampler and the decoder.
        seed: decides the random numbers; by default a fresh one.
        length: the largest number of tokens of an answer.
        system: the first message, to the model alone; empty for none.

    Attributes:
        messages: all messages, each with a `role` and a `content`.

    Raises:
        UsageError: a model without a chat template.
    """

    def __init__(
        self,
        model: LanguageModel,
        strategy: Strategy,
        *,
        seed: int | None = None,
        length: int = 500,
        system: str = "",
    ) -> None:
        self._model = model
        self.length: int = length
        self.strategy = strategy
        self.seed: int = RandomStream.fresh_seed() if seed is None else seed
        self.messages: list[dict[str, str]] = []
        if system:
            self.messages.append({"role": "system", "content": system})
        FullVocabulary(model.vocabulary).render_chat(
            [*self.messages, {"role": "user", "content": "?"}]
        )

    @property
    def answers(self) -> int:
        """The number of answers so far."""
        return sum(message["role"] == "assistant" for message in self.messages)

    def say(self, text: str) -> Iterator[Step]:
        """Send a message, and yield the steps of the answer, each with its text.

        If the steps are not read to the end, the part that was read is kept.
        """
        asked = {"role": "user", "content": text}
        prompt = FullVocabulary(self._model.vocabulary).render_chat([*self.messages, asked])
        written: list[str] = []
        sample = self.answers
        try:
            for step in stream(
                self._model, prompt, sampler=self.strategy.sampler, length=self.length,
                sample=sample, seed=self.seed, decoder=self.strategy.decoder,
            ):  # fmt: skip
                written.append(step.text)
                yield step
        finally:
            if written:
                answer = {"role": "assistant", "content": "".join(written).strip()}
                self.messages += [asked, answer]

    def undo(self) -> str:
        """Forget the last question and its answer; return the question.

        Raises:
            UsageError: nothing was said.
        """
        if not self.answers:
            raise UsageError("nothing was said that could be undone")
        asked, _ = self.messages[-2:]
        del self.messages[-2:]
        return asked["content"]
