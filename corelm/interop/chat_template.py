"""Chat templates: the programs in Jinja that models bring, which write messages as one text.

A template comes with a model's files, so it is run in Jinja's sandbox, in a child process with
limits on time and memory: the cost of a sum or a filter can't be known in advance.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from corelm.abilities.optional import NO_TEMPLATE
from corelm.bounded_calls import BoundedCalls
from corelm.errors import UsageError
from corelm.interop.requirements import requires

LARGEST = 2**18
"""The longest template, in characters."""
LONGEST = 2**22
"""The longest text that a template may write, in characters."""
LOOPS = 100_000
"""The most turns of all loops over ranges, and the largest product that a template may compute."""
CALLS = BoundedCalls(seconds=1.0, niceness=0)  # a chat's answer waits for it
KEPT = 16
"""The number of compiled templates that a child keeps."""


class ChatTemplate:
    """A chat template.

    Args:
        source: the template, as in a tokenizer's files.
        variables: the values of other names in it, such as `bos_token`.

    Raises:
        UsageError: a template that is invalid or too long.

    Example:
        >>> template = ChatTemplate(
        ...     "{% for m in messages %}<{{ m.role }}> {{ m.content }}{{ eos }}{% endfor %}"
        ...     "{% if add_generation_prompt %}<assistant>{% endif %}",
        ...     {"eos": "$"},
        ... )
        >>> template.render([{"role": "user", "content": "Hello"}])
        '<user> Hello$<assistant>'
    """

    MISSING = NO_TEMPLATE
    """The error for a model without a chat template."""

    def __init__(self, source: str, variables: Mapping[str, str] | None = None) -> None:
        if len(source) > LARGEST:
            raise UsageError(f"a chat template has at most {LARGEST:,} characters")
        self.source: str = source
        self._variables = dict(variables or {})
        try:
            CALLS.call(f"{__name__}:check", source)
        except UsageError as error:
            raise UsageError(f"the chat template cannot be read: {error}") from None

    def render(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        """Return the text of messages, up to where the answer begins.

        Args:
            messages: each with its `role` and its `content`.
            tools: the functions that the answer may call, as OpenAI's API describes them.

        Raises:
            UsageError: the template refuses the messages, or exceeds its bounds.
        """
        variables: dict[str, Any] = {**self._variables}
        variables["messages"] = [dict(message) for message in messages]
        if tools:  # templates test if it is defined
            variables["tools"] = [dict(tool) for tool in tools]
        try:
            text: str = CALLS.call(f"{__name__}:rendered", self.source, variables)
        except UsageError as error:
            raise UsageError(f"the chat template cannot write these messages: {error}") from None
        return text


# ---- in the child ----


def check(source: str) -> None:
    """Raise if a template can't be compiled; compiling evaluates its constant parts."""
    _compiled(source)


def rendered(source: str, variables: Mapping[str, Any]) -> str:
    """Render a template; `messages` is one of the variables."""
    environment, template = _compiled(source)
    environment.left = LOOPS
    written, size = [], 0
    for piece in template.generate(add_generation_prompt=True, **variables):
        written.append(piece)
        size += len(piece)
        if size > LONGEST:
            raise UsageError(f"it writes more than {LONGEST:,} characters")
    return "".join(written)


@lru_cache(maxsize=KEPT)
def _compiled(source: str) -> tuple[Any, Any]:
    environment = _environment()
    return environment, environment.from_string(source)


def _refuse(message: str) -> None:
    raise UsageError(message)


def _as_json(value: Any, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=min(indent or 0, 8) or None)


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
        numbers = range(*bounds)
        environment.left -= len(numbers)
        if environment.left < 0:
            raise UsageError(f"its loops have more than {LOOPS:,} turns")
        return numbers

    environment.globals |= {
        "range": bounded_range,
        "raise_exception": _refuse,
        # A format with digits is refused: on some platforms they are a width of any size.
        "strftime_now": lambda form: datetime.now().strftime(re.sub(r"\d", "", form)),
    }
    environment.filters["tojson"] = _as_json
    return environment
