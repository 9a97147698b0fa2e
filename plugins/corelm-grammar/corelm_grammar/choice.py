"""One of several texts."""

from corelm import ParameterError, hookimpl, param
from corelm_grammar.constraint import Constraint, check_length
from corelm_grammar.regex import regex_grammar


class Choice(Constraint):
    """Keep the tokens with which the text can still become one of the choices.

    The text may begin with one space that is not part of it, since words come with a space before
    them.

    Related: regex.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> choice = Choice(words=["good", "long and dull"])
        >>> model = ToyModel(["and", "dull", "good", "long"])
        >>> texts = corelm.generate(model, "and", sampler=choice, n=20, seed=1)
        >>> sorted({text.text for text in texts})
        [' good', ' long and dull']
    """

    words: tuple[str, ...] = param((), "the texts to choose from")
    space: bool = param(True, "allow a space before the text")

    def _compile(self):
        if not self.words:
            raise ParameterError("words is empty; give the texts to choose from")
        alternatives = "|".join(
            "".join(c if c.isalnum() else f"\\x{{{ord(c):x}}}" for c in word) for word in self.words
        )
        check_length("words", "".join(self.words) or "-")
        return regex_grammar(alternatives, self.space)


@hookimpl
def corelm_samplers():
    return {"choice": Choice}
