"""Declared, typed, checked parameters: the fields of samplers and decoders.

A class that inherits from `Parameterized` becomes a frozen dataclass; each field is declared
with `param`. One declaration serves for the validation, the command-line option, the documentation
and the `repr`.
"""

from __future__ import annotations

import dataclasses
import math
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

from corelm.contracts.declarations import CASTS, WORDS, ParamRule, refuse_unusable
from corelm.errors import ParameterError, PluginError
from corelm.text.printable import shown

__all__ = ["Parameter"]

FIELD_TYPES = (float, int, bool, str, tuple, dict, int | str)
"""The types of a parameter; another `Parameterized` class, such as `Sampler`, is one too."""

_REFUSED: ContextVar[bool] = ContextVar("local parameters are refused", default=False)

READERS: dict[type, Callable[[str], Any]] = {}
"""Functions that read a value of a class from text, such as a `Sampler` from an expression."""


def param(
    default: Any,
    help: str = "",
    *,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
    choices: Sequence[Any] | None = None,
    aliases: Sequence[str] = (),
    whole: bool = False,
    local: bool = False,
) -> Any:
    """Declare one parameter of a sampler or a decoder.

    The type of the field is `float`, `int`, `bool`, `str`, `tuple`, `dict`, `int | str` for a
    token, or `Sampler`.

    Args:
        default: the value when the caller passes none.
        help: one line for `--help` and the reference.
        gt, ge, lt, le: bounds (greater than, at least, less than, at most).
        choices: the allowed values, if only a few are allowed.
        aliases: other names for the command-line option.
        whole: for a `tuple`, read a text as one item, even if it has commas; several items are
            given by repeating the option.
        local: the value names a file, a model, an environment variable or code of this machine, so
            a server refuses it in requests.

    Example:
        >>> from corelm import Sampler, param
        >>> class Temperature(Sampler):
        ...     t: float = param(1.0, "softmax temperature", ge=0)
        ...     def __call__(self, logits, context):
        ...         return logits / self.t
        >>> Temperature(t=-1)
        Traceback (most recent call last):
        corelm.errors.ParameterError: t must be at least 0, not -1.0
    """
    allowed = tuple(choices) if choices else None
    rule = ParamRule(help, gt, ge, lt, le, allowed, tuple(aliases), whole, local)
    if isinstance(default, (dict, list, set)):  # `dataclass` refuses a mutable default
        return dataclasses.field(default_factory=lambda: default, metadata={"rule": rule})
    return dataclasses.field(default=default, metadata={"rule": rule})


@dataclass(frozen=True)
class Parameter:
    """One declared parameter, for code that lists, documents or parses parameters.

    Attributes:
        name: the name of the field.
        type: one of `FIELD_TYPES`, or a class such as `Sampler`.
        default: the value when the caller passes none.
        rule: its help line, bounds and other names.
        item_type: the type of the items of a tuple; None for any.
    """

    name: str
    type: Any
    default: Any
    rule: ParamRule
    item_type: Any = None

    @classmethod
    def of(
        cls, name: str, type: Any, default: Any, help: str = "", *, item: Any = None, **rule: Any
    ) -> Parameter:
        """Return a parameter that no class declares, such as an option of a command.

        Args:
            name, type, default: its attributes.
            help: its help line.
            item: the type of the items of a tuple.
            **rule: `ge`, `gt`, `le`, `lt`, `choices` and so on, as `param` takes them.

        Example:
            >>> Parameter.of("n", int, 1, ge=1).convert("5")
            5
        """
        return cls(name, type, default, ParamRule(help, **rule), item)

    @property
    def type_name(self) -> str:
        """The name of the type, such as `float` or `int | str`."""
        return getattr(self.type, "__name__", str(self.type))

    @property
    def is_nested(self) -> bool:
        """True if its values have parameters of their own, as samplers have."""
        return _is_parameterized(self.type)

    def convert(self, value: Any) -> Any:
        """Return a value as the declared type.

        Raises:
            ParameterError: a value of a different type, or outside the bounds.
        """
        converted = self._cast(value)
        if self.rule.local and _REFUSED.get() and converted != self.default:
            raise ParameterError(
                f"{self.name} names something of the machine, so it can't be set here"
            )
        # No bound excludes nan: every comparison with it is false.
        if isinstance(converted, float) and math.isnan(converted):
            raise ParameterError(f"{self.name} must be a number, not nan")
        if not self.rule.allows(converted):
            raise ParameterError(f"{self.name} must be {self.rule}, not {shown(converted)}")
        return converted

    @staticmethod
    def written(value: Any) -> str:
        """Return the text of a value in an expression."""
        return value.expression if isinstance(value, Parameterized) else repr(value)

    def _cast(self, value: Any) -> Any:
        if self.is_nested:
            return self._nested(value)
        cast = CASTS[self.type]
        value = (value,) if self.rule.whole and isinstance(value, str) else value
        try:
            return cast(value, self.item_type)
        except (TypeError, ValueError, OverflowError):
            kind = WORDS[self.type]
            items = f" of items that are each {WORDS[self.item_type]}" if self.item_type else ""
            raise ParameterError(f"{self.name} must be {kind}{items}, not {shown(value)}") from None

    def _nested(self, value: Any) -> Any:
        if isinstance(value, str) and self.type in READERS:
            value = READERS[self.type](value)
        if not isinstance(value, self.type):
            kind = self.type.__name__.lower()
            raise ParameterError(f"{self.name} must be a {kind}, not {shown(value)}")
        return value


def _is_parameterized(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, Parameterized)


@dataclass_transform(frozen_default=True)
class Parameterized:
    """A value whose fields are its parameters: frozen, checked, compared by its fields."""

    name: ClassVar[str] = ""
    """The registered name; the class name in snake case until a plugin offers a different one."""

    _is_registered: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = cls.__dict__.get("name", _snake_case(cls.__name__))
        cls._is_registered = False
        refuse_unusable(
            cls, _contract(cls)
        )  # first, because `dataclass`'s own errors name no way out
        dataclass(frozen=True)(cls)

    def __post_init__(self) -> None:
        for parameter in self.parameters():
            argument = getattr(self, parameter.name)
            try:
                value = parameter.convert(argument)
            except ParameterError as error:
                if argument is not parameter.default:
                    raise
                whose = f"{type(self).__name__}.{parameter.name}"
                raise ParameterError(f"the default of {whose} breaks its rule: {error}") from None
            object.__setattr__(self, parameter.name, value)

    # Rebuild it from its parameters: derived state may be secret or large.
    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by parameters, from which the copy is rebuilt."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}  # type: ignore[arg-type]
        return _made, (type(self), values, self.name)

    @classmethod
    def parameters(cls) -> tuple[Parameter, ...]:
        """Return the declared parameters in the order of their declaration.

        Raises:
            PluginError: a field without a type, or with one that a parameter cannot have.
        """
        # In the class's own dict: an inherited value would be the parent's parameters.
        cached: tuple[Parameter, ...] | None = cls.__dict__.get("_parameters")
        if cached is None:
            try:
                hints = typing.get_type_hints(cls)
            except Exception as error:
                reason = f"the types of {cls.__name__} cannot be read: {error}"
                raise PluginError(f"{_not_a(cls)}: {reason}") from error
            fields = dataclasses.fields(cls)  # type: ignore[arg-type]
            cached = tuple(_parameter(cls, field, hints) for field in fields)
            names = [name for each in cached for name in (each.name, *each.rule.aliases)]
            if twice := {name for name in names if names.count(name) > 1}:
                raise PluginError(f"{_not_a(cls)}: {cls.__name__}.{min(twice)} is declared twice")
            cls._parameters = cached  # type: ignore[attr-defined]
        return cached

    def parts(self) -> Iterator[Any]:
        """Walk depth-first: yield each stage of a chain, and after it those in its parameters.

        Example:
            >>> import corelm
            >>> chain = corelm.sampler("phase(start=1, inside=top_p) | top_k")
            >>> [part.name for part in chain.parts()]
            ['phase', 'top_p', 'stochastic', 'top_k']
        """
        yield self
        for parameter in self.parameters():
            if parameter.is_nested:
                yield from getattr(self, parameter.name).parts()

    @staticmethod
    @contextmanager
    def refuse_local() -> Iterator[None]:
        """Raise if a local parameter is set to anything but its default inside this context.

        For untrusted expressions: they can't open a file or a model, read an environment
        variable or import a module.

        Example:
            >>> from corelm import Sampler, param
            >>> class Steered(Sampler):
            ...     model: str = param("", "the name or path of a model", local=True)
            ...     def __call__(self, logits, context):
            ...         return logits
            >>> with Sampler.refuse_local():
            ...     Steered(model="/tmp/model")
            Traceback (most recent call last):
            corelm.errors.ParameterError: model names something of the machine, ...
        """
        token = _REFUSED.set(True)
        try:
            yield
        finally:
            _REFUSED.reset(token)

    @classmethod
    def description(cls) -> str:
        """Return the first paragraph of the class's docstring on one line."""
        text = cls.__dict__.get("__doc__") or ""
        if text.startswith(f"{cls.__name__}("):  # written by dataclass: the signature
            return ""
        return " ".join(text.strip().split("\n\n")[0].split())

    @classmethod
    def build(cls, *values: Any, **named: Any) -> Self:
        """Make an instance from values by position, name or alias.

        Raises:
            ParameterError: a name that the class does not have; the message lists its names.
        """
        names = {p.name: p.name for p in cls.parameters()}
        for p in cls.parameters():
            names.update(dict.fromkeys(p.rule.aliases, p.name))
        has = ", ".join(p.name for p in cls.parameters()) or "none"
        for key in named:
            if key not in names:
                raise ParameterError(f"{cls.name} has no parameter {key!r}; it has: {has}")
        if len(values) > len(cls.parameters()):
            raise ParameterError(f"{cls.name} takes fewer than {len(values)} values; it has: {has}")
        try:
            return cls(*values, **{names[key]: value for key, value in named.items()})
        except TypeError as error:
            raise ParameterError(f"{cls.name}: {error}; it has: {has}") from None

    @property
    def expression(self) -> str:
        """The expression that `corelm.sampler` reads back, such as `temperature(t=0.2)`."""
        values = [f"{p.name}={p.written(getattr(self, p.name))}" for p in self.parameters()]
        return f"{self.name}({', '.join(values)})" if values else self.name

    def __str__(self) -> str:
        return self.expression


P = TypeVar("P", bound=Parameterized)


def register_as(cls: type[Parameterized], name: str) -> None:
    """Set a class's name to the name that a plugin offers; the first one counts."""
    if not cls._is_registered:
        cls.name, cls._is_registered = name, True


def _made(cls: type[P], values: Mapping[str, Any], name: str) -> P:
    """Build a value from its fields, with this registered name."""
    return renamed(cls(**values), name)


def renamed(value: P, name: str) -> P:
    """Return the same value under a different registered name.

    Its expression begins with that name. It equals, and hashes like, the original.

    Example:
        >>> import corelm
        >>> str(renamed(corelm.sampler("greedy"), "corelm:greedy"))
        'corelm:greedy'
    """
    if name == value.name:
        return value
    copied = object.__new__(type(value))
    vars(copied).update(vars(value), name=name)  # not a field, so equality ignores it
    return copied


def _not_a(cls: type) -> str:
    """Return the start of a message: `not a sampler` or `not a decoder`."""
    return f"not a {_contract(cls).__name__.lower()}"


def _contract(cls: type) -> type:
    """Return the contract that a class inherits: `Sampler` or `Decoder`."""
    return next(base for base in cls.__mro__ if Parameterized in base.__bases__)


def _parameter(cls: type, field: dataclasses.Field[Any], hints: dict[str, Any]) -> Parameter:
    hint = hints[field.name]
    # `int | str` is one of the types, so look it up before taking a hint apart.
    origin = hint if hint in FIELD_TYPES else typing.get_origin(hint) or hint
    if origin not in FIELD_TYPES and not _is_parameterized(origin):
        names = ", ".join(getattr(t, "__name__", str(t)) for t in FIELD_TYPES)
        raise PluginError(
            f"{_not_a(cls)}: {cls.__name__}.{field.name} has the type {hint!r}; "
            f"a parameter is one of {names}, or a Sampler"
        )
    arguments = typing.get_args(hint)
    item_type = arguments[0] if origin is tuple and arguments and arguments[0] in CASTS else None
    rule = field.metadata.get("rule", ParamRule())
    made = field.default_factory
    default = field.default if made is dataclasses.MISSING else made()
    return Parameter(field.name, origin, default, rule, item_type)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
