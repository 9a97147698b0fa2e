"""Chat templates: the programs in Jinja that models bring, which write messages as one text.

A template comes with a model's files, so it is run in Jinja's sandbox, with bounds on what it may
compute and write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from corelm.errors import UsageError
from corelm.interop.requirements import requires
from corelm.printable import reason_of

LARGEST = 2**18
"""Characters of a template."""
LONGEST = 2**22
"""Characters that a template may write."""
LOOPS = 100_000
"""Turns of loops over ranges, and the largest product that a template may compute."""


class ChatTemplate:
    """A chat template.

    Args:
        source: the template, as in a tokenizer's files.
        variables: what it may name besides the messages, such as `bos_token`.

    Raises:
        UsageError: a template that isn't one, or is too long.

    Example:
        >>> template = ChatTemplate(
        ...     "{% for m in messages %}<{{ m.role }}> {{ m.content }}{{ eos }}{% endfor %}"
        ...     "{% if add_generation_prompt %}<assistant>{% endif %}",
        ...     {"eos": "$"},
        ... )
        >>> template.render([{"role": "user", "content": "Hello"}])
        '<user> Hello$<assistant>'
    """

    def __init__(self, source: str, variables: Mapping[str, str] | None = None) -> None:
        if len(source) > LARGEST:
            raise UsageError(f"a chat template has at most {LARGEST:,} characters")
        self.source, self._variables = source, dict(variables or {})
        self._environment = _environment()
        try:
            self._template = self._environment.from_string(source)
        except Exception as error:  # of Jinja, or of Python's compiler
            raise UsageError(f"the chat template cannot be read: {reason_of(error)}") from error

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Return the text of messages, up to where the answer begins.

        Args:
            messages: each with its `role` and its `content`.

        Raises:
            UsageError: the template refuses the messages, or exceeds its bounds.
        """
        self._environment.left = LOOPS
        written, size = [], 0
        try:
            for piece in self._template.generate(
                messages=[dict(message) for message in messages],
                add_generation_prompt=True,
                **self._variables,
            ):
                written.append(piece)
                size += len(piece)
                if size > LONGEST:
                    raise UsageError(f"it writes more than {LONGEST:,} characters")
        except Exception as error:
            reason = str(error) if isinstance(error, UsageError) else reason_of(error)
            raise UsageError(f"the chat template cannot write these messages: {reason}") from error
        return "".join(written)


@requires("jinja2", "3.1.6")
def _environment() -> Any:
    """Return a sandbox with the functions that templates of transformers may call."""
    from datetime import datetime

    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        """A sandbox that also bounds ranges, products and powers."""

        intercepted_binops = frozenset({"*", "**", "%"})
        left = LOOPS

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            """Raise if the result could fill the memory: a long text, or a large product."""
            sizes = [len(x) if hasattr(x, "__len__") else x for x in (left, right)]
            if operator == "**" or (operator == "*" and abs(sizes[0] * sizes[1]) > LOOPS):
                raise UsageError(f"{operator} of such values is refused")
            if operator == "%" and isinstance(left, str):
                raise UsageError("% with a text is refused")
            return super().call_binop(context, operator, left, right)

    environment = Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )

    def bounded_range(*bounds: int) -> range:
        found = range(*bounds)
        environment.left -= len(found)
        if environment.left < 0:
            raise UsageError(f"its loops have more than {LOOPS:,} turns")
        return found

    def refuse(message: str) -> None:
        raise UsageError(message)

    def as_json(value: Any, indent: int | None = None, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=False, indent=min(indent or 0, 8) or None)

    environment.globals |= {
        "range": bounded_range,
        "raise_exception": refuse,
        # Without digits, which some platforms take for a width of any size.
        "strftime_now": lambda form: datetime.now().strftime(re.sub(r"\d", "", form)),
    }
    environment.filters["tojson"] = as_json
    return environment
