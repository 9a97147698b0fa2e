"""Read expressions such as `top_p(p=0.9) | temperature(t=0.7)`; `str(sampler)` writes them."""

from __future__ import annotations

import ast
import math
import os
import re
import threading
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from corelm.contracts.params import READERS, Parameter, Parameterized, renamed
from corelm.contracts.sampling import Chain as Chain
from corelm.contracts.sampling import Sampler as Sampler
from corelm.errors import CorelmError, ExpressionError, ParameterError
from corelm.registry.loading import OWN
from corelm.registry.registry import registry
from corelm.text.printable import reason_of, shown

_STAGE = re.compile(r"([\w.\-]+(?::[\w.\-]+)?)\s*(?:\((.*)\))?", re.DOTALL)
# A quoted text as a whole, or one character.
_PIECE = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|.""", re.DOTALL)
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_PARAMETER = re.compile(r"(?:([^\W\d]\w*)\s*=(?!=)\s*)?(.*)", re.DOTALL)
_NAMES = {"inf": math.inf, "nan": math.nan, "true": True, "false": False}
"""The literals that Python has no syntax for; true and false are JSON's."""
_UNREADABLE = (SyntaxError, ValueError, TypeError, RecursionError, MemoryError)
"""The errors of Python's parser for a text that is not a literal."""
# In threads, 3 of 988 long expressions were a SystemError on Python 3.11.7, whose parser may count
# the depth of two of them together. `catch_warnings` isn't safe in threads either.
_PARSER = threading.Lock()
if hasattr(os, "register_at_fork"):  # a child would wait for a thread that it lacks
    os.register_at_fork(
        before=_PARSER.acquire, after_in_parent=_PARSER.release, after_in_child=_PARSER.release
    )

T = TypeVar("T", bound=Parameterized)
ParsedStage = tuple[str, list[Any], dict[str, Any]]
"""A stage as written: the name, the parameters by position, and those by name."""


@dataclass(frozen=True)
class Expression:
    """An expression as written: its stages, whose names aren't looked up before it is built.

    Attributes:
        text: the expression.
        stages: the name of each stage, its parameters by position, and those by name. A sampler in
            a parameter is an `Expression` too.

    Example:
        >>> written = Expression.read("top_k(40) | temperature(t=0.7)")
        >>> written.stages
        [('top_k', [40], {}), ('temperature', [], {'t': 0.7})]
        >>> written.build()
        top_k(k=40) | temperature(t=0.7)
    """

    LONGEST: ClassVar[int] = 10_000
    """The longest expression, in characters; a longer one is refused unread."""
    DEEPEST: ClassVar[int] = 16
    """The most levels of samplers inside samplers; a deeper expression is refused."""

    text: str
    stages: list[ParsedStage]

    @classmethod
    def read(cls, text: str) -> Expression:
        """Return the expression in a text.

        Raises:
            ExpressionError: an expression that cannot be read.
        """
        return cls(text, read_stages(text))

    @classmethod
    def built_in(cls, text: str) -> Sampler:
        """Return the sampler of an expression, with every bare name taken for one of corelm's own.

        For defaults and presets: they work even if other plugins offer the same names.

        Example:
            >>> Expression.built_in("top_p(p=0.9) | temperature(t=0.7)")
            top_p(p=0.9) | temperature(t=0.7)
        """
        return build(read_stages(text), own=True)

    def build(self) -> Sampler:
        """Make the sampler.

        Raises:
            UnknownNameError, AmbiguousNameError: no such sampler, or several.
            ParameterError: a parameter that it does not have, or a value outside its rule.
        """
        return build(self.stages)

    def make(self, cls: type[T], name: str) -> T:
        """Make a value of another class from an expression of one stage, such as a metric.

        Args:
            cls: the class.
            name: the name that it gets.

        Raises:
            ParameterError: a parameter that it does not have, or a value outside its rule.
        """
        [(_, values, named)] = self.stages
        return make(cls, name, values, named)

    @staticmethod
    def split(text: str, mark: str) -> list[str]:
        """Split a text, which need not be valid, at the marks outside quotes and brackets.

        Example:
            >>> Expression.split("mix(a=greedy, b=top_p), seed=1", ",")
            ['mix(a=greedy, b=top_p)', ' seed=1']
        """
        parts, start, open_brackets = [], 0, list[str]()
        for piece in _PIECE.finditer(text):
            character = piece[0]
            if character in _CLOSING:
                open_brackets.append(_CLOSING[character])
            elif open_brackets and character == open_brackets[-1]:
                open_brackets.pop()
            elif character == mark and not open_brackets:
                parts.append(text[start : piece.start()])
                start = piece.end()
        return [*parts, text[start:]]

    @staticmethod
    def split_stage(text: str) -> tuple[str, list[tuple[str, str]]]:
        """Return the name of a stage, and the names and texts of its parameters.

        A stage without parameters is returned as it is written, whether or not it can be read.

        Example:
            >>> Expression.split_stage("top_p(p=0.9, 2)"), Expression.split_stage("greedy")
            (('top_p', [('p', '0.9'), ('', '2')]), ('greedy', []))
        """
        match = _STAGE.fullmatch(text.strip())
        if match is None or not match[2]:
            return text.strip(), []
        return match[1], [*_parameters_of(match[2])]


def sampler(expression: str | Sampler, **parameters: Any) -> Sampler:
    """Return the sampler of a name and its parameters, or of an expression.

    Args:
        expression: a registered name such as `temperature`, or an expression such as
            `top_p(p=0.9) | temperature(t=0.7)`. A sampler is returned unchanged.
        **parameters: the parameters, if the expression is one bare name.

    Raises:
        UnknownNameError, AmbiguousNameError: no such sampler, or several.
        ParameterError: a parameter that it does not have, or a value outside its rule.
        ExpressionError: an expression that cannot be read.

    Example:
        >>> import corelm
        >>> corelm.sampler("temperature", t=0.2)
        Temperature(t=0.2)
        >>> corelm.sampler("temperature(t=0.5) | greedy")
        temperature(t=0.5) | greedy
    """
    if isinstance(expression, Sampler):
        if parameters:
            raise ParameterError("parameters go with a name, not with a sampler that has its own")
        return expression
    stages = read_stages(expression)
    if parameters:
        if len(stages) != 1 or stages[0][1] or stages[0][2]:
            raise ParameterError("parameters go with a bare name; an expression has its own inside")
        stages = [(stages[0][0], [], parameters)]
    return build(stages)


READERS[Sampler] = sampler  # `params` cannot import this module, which is built on it


def read_stages(expression: str) -> list[ParsedStage]:
    """Return the stages of an expression as written, without looking up their names.

    Raises:
        ExpressionError: an expression that cannot be read.
    """
    if isinstance(expression, type):
        raise ExpressionError(
            f"a sampler is an object: write {expression.__name__}(), with brackets"
        )
    if not isinstance(expression, str):
        raise ExpressionError(
            f"a sampler is a name, an expression or a value such as Temperature(t=0.2), "
            f"not {shown(expression)}"
        )
    if len(expression) > Expression.LONGEST:
        raise ExpressionError(f"an expression has at most {Expression.LONGEST} characters")
    return _read_stages(expression, 0)


def build(stages: Iterable[ParsedStage], *, own: bool = False) -> Sampler:
    """Make the sampler of stages that were read.

    Args:
        stages: from `read_stages`.
        own: take bare names for corelm's own samplers, even if other plugins offer them too.
    """
    built = [_build(*stage, own) for stage in stages]
    return built[0] if len(built) == 1 else Chain(tuple(built))


def is_name(expression: str) -> bool:
    """Return True if an expression is a bare name, whose parameters may be passed separately."""
    match = _STAGE.fullmatch(expression.strip())
    return match is not None and match[2] is None


def make(cls: type[T], name: str, values: list[Any], named: dict[str, Any], own: bool = False) -> T:
    """Make the sampler or decoder of a stage.

    Args:
        cls: its class.
        name: the name that it was written with.
        values: the parameters by position.
        named: the parameters by name.
        own: take bare names in parameters for corelm's own samplers.

    Raises:
        ParameterError: a parameter that it does not have, or a value outside its rule.
    """
    declared = cls.parameters()
    places: dict[int | str, Parameter] = dict(enumerate(declared))
    places |= {each: p for p in declared for each in (p.name, *p.rule.aliases)}
    values = [_built(value, places.get(at), name, own) for at, value in enumerate(values)]
    named = {key: _built(value, places.get(key), name, own) for key, value in named.items()}
    try:
        return renamed(cls.build(*values, **named), name)
    except (CorelmError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a plugin's class may raise anything, even SystemExit
        source, reason = registry().source_of(cls), reason_of(error)
        raise ParameterError(f"{cls.__name__} of {source} cannot be made: {reason}") from error


def _build(name: str, values: list[Any], named: dict[str, Any], own: bool) -> Sampler:
    if not own:
        return make(registry().sampler(name), name, values, named)
    offer = registry().find("corelm_samplers", name if ":" in name else f"{OWN}:{name}")
    made: Sampler = make(offer.value, offer.full_name, values, named, own=True)
    # The full name goes into the expression only where the bare one would be ambiguous.
    return made if registry().is_contested(offer) else renamed(made, name)


def _built(value: Any, parameter: Parameter | None, name: str, own: bool) -> Any:
    """Build the sampler of a nested value; return any other value unchanged."""
    if not isinstance(value, Expression):
        return value
    if parameter is not None and not parameter.is_nested:
        raise _unreadable(name, f"{parameter.name}={value.text}")
    return build(value.stages, own=own)


def _read_stages(text: str, depth: int) -> list[ParsedStage]:
    if depth > Expression.DEEPEST:
        raise ExpressionError(f"samplers in an expression nest at most {Expression.DEEPEST} deep")
    return [_read_stage(part.strip(), depth) for part in Expression.split(text, "|")]


def _read_stage(text: str, depth: int) -> ParsedStage:
    match = _STAGE.fullmatch(text)
    if not match:
        raise ExpressionError(
            f"cannot read {shown(text)} as a sampler; write name or "
            "name(parameter=value), and put | between two"
        )
    name, arguments = match[1], (match[2] or "").strip()
    values: list[Any] = []
    named: dict[str, Any] = {}
    for key, text in _parameters_of(arguments):
        # As in a Python call: no name twice, no positional value after a named one.
        if key in named or (named and not key):
            raise _unreadable(name, arguments)
        try:  # a literal first: most parameters are numbers
            value = _literal(text)
        except _UNREADABLE:
            if not all(_STAGE.fullmatch(part.strip()) for part in Expression.split(text, "|")):
                raise _unreadable(name, arguments) from None
            value = Expression(text, _read_stages(text, depth + 1))
        if key:
            named[key] = value
        else:
            values.append(value)
    return name, values, named


def _parameters_of(arguments: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each parameter; the name is empty for one by position."""
    parts = Expression.split(arguments, ",")
    for part in parts if parts[-1].strip() else parts[:-1]:  # a comma may follow the last one
        match = _PARAMETER.fullmatch(part.strip())
        yield (match[1] or "", match[2]) if match else ("", "")


def _unreadable(name: str, arguments: str) -> ExpressionError:
    return ExpressionError(
        f"cannot read the parameters of {name}: {shown(arguments)}; write each once, as "
        "parameter=value with a number, True or False, a quoted text, a list, a mapping or a "
        "sampler"
    )


def _literal(text: str) -> Any:
    """Return the value of a literal; raise one of `_UNREADABLE` for any other text."""
    with _PARSER, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as Python's SyntaxWarning about "\d"
        call = ast.parse(f"_({text})", mode="eval").body
    # A text such as `1)(2` would close the bracket and open another: a call of a call.
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise ValueError("more than one value")
    if len(call.args) != 1 or call.keywords:
        raise ValueError("not one value")
    return _value(call.args[0])


def _value(node: ast.expr) -> Any:
    """Return the value of a literal, with `inf`, `nan`, `true` and `false`."""
    # Not `ast.literal_eval` alone: it takes neither inf nor -inf, not even inside a list.
    if isinstance(node, ast.Name) and node.id in _NAMES:
        return _NAMES[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _value(node.operand)
        if not isinstance(value, (int, float)):
            raise ValueError("minus before something other than a number")
        return -value
    if isinstance(node, (ast.Tuple, ast.List)):
        return tuple(_value(item) for item in node.elts)
    if isinstance(node, ast.Dict):
        if any(key is None for key in node.keys):
            raise ValueError("a mapping without keys")
        return {_value(k): _value(v) for k, v in zip(node.keys, node.values, strict=True) if k}
    return ast.literal_eval(node)
