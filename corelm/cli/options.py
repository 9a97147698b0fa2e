"""From declared parameters to options of the command line, and back to values."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from corelm.cli import terminal
from corelm.errors import ParameterError
from corelm.params import Parameter, Parameterized

METAVARS = {
    float: "NUMBER",
    int: "INTEGER",
    str: "TEXT",
    tuple: "ITEM,...",
    dict: "KEY=VALUE,...",
}


@dataclass(frozen=True)
class Chosen:
    """A sampler or a decoder whose parameters become options.

    Attributes:
        kind: `sampler` or `decoder`.
        cls: its class.
        names: the options of each parameter, by the parameter's name.
        defaults: values to begin with instead of the declared ones.
    """

    kind: str
    cls: type[Parameterized]
    names: Mapping[str, list[str]]
    defaults: Mapping[str, Any]

    @classmethod
    def of(
        cls, kind: str, chosen: type[Parameterized], taken: Collection[str], **defaults: Any
    ) -> Chosen:
        """Name the options of a class, leaving aside those that are taken.

        An option is the flag of its parameter; where that is taken it begins with the kind:
        the parameter `n` of a sampler is `--sampler-n`. Aliases that are taken are left out.
        """
        names = {p.name: _free(kind, p, taken) for p in chosen.parameters()}
        return cls(kind, chosen, names, defaults)

    @property
    def options(self) -> dict[str, bool]:
        """Every option, and whether it takes a value."""
        types = {p.name: p.type for p in self.cls.parameters()}
        return {
            option: types[parameter] is not bool
            for parameter, several in self.names.items()
            for name in several
            for option in ([name, _no(name)] if types[parameter] is bool else [name])
        }

    def arguments(self) -> dict[str, inspect.Parameter]:
        """The options as Typer wants them: arguments of a function."""
        return {self._key(p): self._argument(p) for p in self.cls.parameters()}

    def build(self, values: Mapping[str, Any]) -> Any:
        """Make one from the values of those arguments.

        Raises:
            ParameterError: a value of the wrong type or outside its rule.
        """
        given = {p.name: _value(p, values[self._key(p)]) for p in self.cls.parameters()}
        return self.cls.build(**{name: value for name, value in given.items() if value is not None})

    def _key(self, parameter: Parameter) -> str:
        return f"{self.kind}_{parameter.name}"

    def _argument(self, parameter: Parameter) -> inspect.Parameter:
        default = self.defaults.get(parameter.name, parameter.default)
        names: Sequence[str] = self.names[parameter.name]
        annotation: Any = str
        if parameter.type is bool:
            annotation, names = bool, [f"{name}/{_no(name)}" for name in names]
        elif parameter.type in (tuple, dict):
            annotation, default = list[str] | None, None
        else:
            default = str(default)
        metavar = METAVARS.get(parameter.type)
        option = typer.Option(default, *names, help=help_of(parameter), metavar=metavar)
        kind = inspect.Parameter.KEYWORD_ONLY
        return inspect.Parameter(self._key(parameter), kind, default=option, annotation=annotation)


def flag(name: str) -> str:
    """The option of a name: `t_min` is `--t-min`."""
    return "--" + name.replace("_", "-")


def help_of(parameter: Parameter) -> str:
    """The help line of a parameter, with its rule."""
    rule = str(parameter.rule)
    return terminal.one_line(f"{parameter.rule.help} ({rule})" if rule else parameter.rule.help)


def extended(command: Callable[..., Any], chosen: Sequence[Chosen]) -> Callable[..., Any]:
    """The command with the options of what was chosen, after the option that chose it.

    What they describe reaches the command in its argument `built`, by kind.
    """
    signature = inspect.signature(command, eval_str=True)
    own = {name: p for name, p in signature.parameters.items() if name != "built"}
    more = {choice.kind: choice.arguments() for choice in chosen}
    arguments: dict[str, inspect.Parameter] = {}
    for name, argument in own.items():
        arguments[name] = argument.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        arguments.update(more.get(name, {}))

    def called(**values: Any) -> Any:
        fixed = {name: values.pop(name) for name in own}
        with terminal.product():
            built = {choice.kind: choice.build(values) for choice in chosen}
        return command(**fixed, built=built)

    called.__name__, called.__doc__ = command.__name__, command.__doc__
    called.__annotations__ = {name: argument.annotation for name, argument in arguments.items()}
    called.__signature__ = inspect.Signature(list(arguments.values()))  # type: ignore[attr-defined]
    return called


def _free(kind: str, parameter: Parameter, taken: Collection[str]) -> list[str]:
    name, *aliases = map(flag, (parameter.name, *parameter.rule.aliases))
    if name in taken:
        name = flag(f"{kind}-{parameter.name}")
    return [name, *(alias for alias in aliases if alias not in taken)]


def _no(name: str) -> str:
    return f"--no-{name[2:]}"


def _value(parameter: Parameter, given: Any) -> Any:
    """What was given for a parameter, in a form that it converts; None for its default."""
    if parameter.type is tuple and given:
        return given[0] if len(given) == 1 else tuple(given)
    if parameter.type is dict and given:
        return dict(_pair(parameter, pair) for part in given for pair in part.split(","))
    return given


def _pair(parameter: Parameter, text: str) -> tuple[int | str, float | str]:
    key, equals, value = text.rpartition("=")
    if not equals:
        raise ParameterError(f"{parameter.name} must be KEY=VALUE, not {text!r}")
    return int(key) if key.isdecimal() else key, _number(value)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
