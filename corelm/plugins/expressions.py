"""Read expressions such as `top_p(p=0.9) | temperature(t=0.7)`; `str(sampler)` writes them."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from corelm.errors import CorelmError, ExpressionError, ParameterError
from corelm.plugins.loading import OWN
from corelm.plugins.registry import registry
from corelm.printable import reason_of, shown
from corelm.sampler import Chain, Sampler

LONGEST = 10_000
"""Characters; a longer expression is refused unread."""

_STAGE = re.compile(r"([\w.\-]+(?::[\w.\-]+)?)\s*(?:\((.*)\))?", re.DOTALL)
# A quoted text as a whole, or one character.
_PIECE = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|.""", re.DOTALL)
_CLOSING = {"(": ")", "[": "]", "{": "}"}

Written = tuple[str, list[Any], dict[str, Any]]
"""A stage as written: the name, the parameters by position, and those by name."""


def sampler(expression: str | Sampler, **parameters: Any) -> Sampler:
    """Return the sampler of a name and its parameters, or of an expression.

    Args:
        expression: a registered name such as `temperature`, or an expression such as
            `top_p(p=0.9) | temperature(t=0.7)`. A sampler comes back as it is.
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


def read_stages(expression: str) -> list[Written]:
    """Return the stages of an expression as written, without looking up their names.

    Raises:
        ExpressionError: an expression that cannot be read.

    Example:
        >>> read_stages("top_k(40) | temperature(t=0.7)")
        [('top_k', [40], {}), ('temperature', [], {'t': 0.7})]
    """
    if not isinstance(expression, str):
        raise ExpressionError(
            f"a sampler is a name, an expression or a value such as Temperature(t=0.2), "
            f"not {shown(expression)}"
        )
    if len(expression) > LONGEST:
        raise ExpressionError(f"an expression has at most {LONGEST} characters")
    return [_read_stage(part) for part in _split(expression)]


def built_in(expression: str) -> Sampler:
    """Return the sampler of an expression in which every bare name is one of corelm's own.

    For corelm's own defaults and presets: they work even if other plugins offer the same names.

    Example:
        >>> built_in("top_p(p=0.9) | temperature(t=0.7)")
        top_p(p=0.9) | temperature(t=0.7)
    """
    return build(read_stages(expression), own=True)


def build(stages: Iterable[Written], *, own: bool = False) -> Sampler:
    """Make the sampler of stages that were read.

    Args:
        stages: from `read_stages`.
        own: take bare names for corelm's own samplers, even if other plugins offer them too.
    """
    built = [(_build_own if own else _build)(*stage) for stage in stages]
    return built[0] if len(built) == 1 else Chain(tuple(built))


def is_name(expression: str) -> bool:
    """Return True if an expression is one bare name, so that its parameters may be given apart."""
    match = _STAGE.fullmatch(expression.strip())
    return match is not None and match[2] is None


def _build(name: str, values: list[Any], named: dict[str, Any]) -> Sampler:
    cls = registry().sampler(name)
    try:
        return cls.build(*values, **named).renamed(name)
    except (CorelmError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise ParameterError(f"{name} cannot be made: {reason_of(error)}") from error


def _build_own(name: str, values: list[Any], named: dict[str, Any]) -> Sampler:
    offer = registry().find("corelm_samplers", name if ":" in name else f"{OWN}:{name}")
    made = _build(offer.full_name, values, named)
    return made if registry().is_contested(offer) else made.renamed(name)


def _split(expression: str) -> Iterator[str]:
    """Split an expression at the bars outside quotes and brackets."""
    open_brackets, start = [], 0
    for piece in _PIECE.finditer(expression):
        character = piece[0]
        if character in _CLOSING:
            open_brackets.append(_CLOSING[character])
        elif open_brackets and character == open_brackets[-1]:
            open_brackets.pop()
        elif character == "|" and not open_brackets:
            yield expression[start : piece.start()]
            start = piece.end()
    yield expression[start:]


def _read_stage(text: str) -> Written:
    match = _STAGE.fullmatch(text.strip())
    if not match:
        raise ExpressionError(
            f"cannot read {shown(text.strip())} as a sampler; write name or "
            "name(parameter=value), and put | between two"
        )
    name, arguments = match[1], (match[2] or "").strip()
    try:
        return name, *_read_arguments(arguments)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise ExpressionError(
            f"cannot read the parameters of {name}: {shown(arguments)}; write each once, as "
            "parameter=value with a number, a quoted text, a list or a mapping"
        ) from None


def _read_arguments(arguments: str) -> tuple[list[Any], dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as Python's opinion on "\d"
        call = ast.parse(f"_({arguments})", mode="eval").body
    # Parameters such as `t=1)(2` close the bracket and open another one: a call of a call.
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise ValueError("not a list of parameters")
    names = [keyword.arg for keyword in call.keywords]
    if None in names or len(set(names)) < len(names):
        raise ValueError("a parameter without a name, or one given twice")
    values = [_value(node) for node in call.args]
    return values, {str(k.arg): _value(k.value) for k in call.keywords}


def _value(node: ast.expr) -> Any:
    """Return the value of a literal; `inf` and `nan` are numbers too."""
    if isinstance(node, ast.Name) and node.id in ("inf", "nan"):
        return float(node.id)
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
