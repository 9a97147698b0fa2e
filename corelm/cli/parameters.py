"""Turn declared parameters into options of the command line, and their text into values."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import zip_longest
from typing import Any

import typer

from corelm.cli.output.messages import Output
from corelm.contracts.params import Parameter, Parameterized
from corelm.errors import ParameterError
from corelm.text.printable import one_line

RESERVED = frozenset(
    {
        "--after", "--alternatives", "--batch", "--chat", "--color", "--decoder", "--device",
        "--dtype", "--help", "--json", "--length", "--model", "--no-stream", "--output",
        "--preset", "--prompt", "--prompt-file", "--receipt", "--resume", "--sampler",
        "--scheduler", "--seconds", "--seed", "--step", "--stop", "--stop-loop", "--stop-regex",
        "--token", "--top", "--unknown", "--workers",
    }
)  # fmt: skip
"""The options of `sample`, `explain` and `bench`: a parameter has one option in all three."""

COLOR = Parameter.of("color", str, "auto", choices=("auto", "always", "never"))


def _repeats() -> str:
    from corelm.generation.endings import REPEATS  # late: few commands write texts

    return str(REPEATS)


OPTIONAL: Mapping[str, Callable[[], str]] = {"--stop-loop": _repeats, "--color": lambda: "auto"}
"""The options that need no value, and the value that each has by default."""

SHORT = {"n": "-n"}
"""Short options in place of long ones, by argument: samplers have parameters of these names."""


called: ContextVar[tuple[str, Sequence[str]]] = ContextVar("called", default=("", ()))
"""The command that is called, and the words after it."""

METAVARS = {
    float: "NUMBER",
    int: "INTEGER",
    str: "TEXT",
    tuple: "ITEM,...",
    dict: "KEY=VALUE,...",
    int | str: "TOKEN",
}
WIDEST = 48
"""The largest width of a metavar that lists choices."""


@dataclass(frozen=True)
class ParameterOptions:
    """Parameters as options of a command.

    Attributes:
        kind: "sampler", "decoder" or "settings"; `--help` lists the options after the option of
            that name, or last.
        parameters: the parameters.
        names: the options of each parameter, by the parameter's name.
    """

    kind: str
    parameters: tuple[Parameter, ...]
    names: Mapping[str, list[str]]

    @property
    def options(self) -> dict[str, bool]:
        """Every option, and True for each that takes a value."""
        return {
            option: parameter.type is not bool
            for parameter in self.parameters
            for name in self.names[parameter.name]
            for option in ([name, _no(name)] if parameter.type is bool else [name])
        }

    def arguments(self) -> dict[str, inspect.Parameter]:
        """Return the options in the form that Typer reads: arguments of a function."""
        return {
            self._key(p): _argument(self._key(p), p, self.names[p.name]) for p in self.parameters
        }

    def build(self, values: Mapping[str, Any]) -> Any:
        """Convert the arguments to values of the parameters, by name.

        Raises:
            ParameterError: a value of the wrong type or outside its rule.
        """
        pairs = ((p, _value(p, values[self._key(p)])) for p in self.parameters)
        return {p.name: p.convert(value) for p, value in pairs if value is not None}

    def _key(self, parameter: Parameter) -> str:
        return f"{self.kind}_{parameter.name}"


@dataclass(frozen=True)
class Chosen(ParameterOptions):
    """A sampler or a decoder whose parameters become options.

    Attributes:
        cls: its class.
        name: the name that it was looked up by, if it may differ from the class's name.
    """

    cls: type[Parameterized]
    name: str = ""

    @classmethod
    def of(
        cls, kind: str, chosen: type[Parameterized], reserved: Collection[str], **defaults: Any
    ) -> Chosen:
        """Name the options of a class without reusing a name.

        The option of the parameter `length` is `--length`, or `--sampler-length` or
        `--decoder-length` if a command has `--length`. Aliases that a command has are left out.
        """
        parameters = tuple(
            replace(p, default=defaults.get(p.name, p.default)) for p in chosen.parameters()
        )
        return cls(kind, parameters, {p.name: _free(kind, p, reserved) for p in parameters}, chosen)

    def build(self, values: Mapping[str, Any]) -> Any:
        """Make the sampler or decoder from the arguments."""
        from corelm.registry.expressions import make  # late: `--help` needs no arithmetic

        return make(self.cls, self.name or self.cls.name, [], super().build(values))


def flag(name: str) -> str:
    """Return the option of a name: `t_min` is `--t-min`."""
    return "--" + name.replace("_", "-")


def own_flag(name: str) -> str:
    """Return the option of a command's own argument.

    Example:
        >>> own_flag("prompt_file"), own_flag("n")
        ('--prompt-file', '-n')
    """
    return SHORT.get(name) or flag(name)


def scan(
    arguments: Sequence[str], takes_value: Mapping[str, bool]
) -> tuple[dict[str, str | None], list[str]]:
    """Return the options of a command line with their values, and the remaining words.

    Example:
        >>> scan(["--t=1", "a", "--stop", "--t", "--json"], {"--t": True, "--stop": True})
        ({'--t': '1', '--stop': '--t', '--json': None}, ['a'])
    """
    options: dict[str, str | None] = {}
    words: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if word == "--":
            words += rest
        elif word.startswith("--"):
            name, equals, text = word.partition("=")
            name, value = flag(name[2:]), text if equals else None
            # Even if the next word looks like an option: `--stop --t` stops at "--t".
            if takes_value.get(name) and not equals:
                value = next(rest, None)
            options[name] = value
        elif word[:2] in SHORT.values():
            options[word[:2]] = word[2:] or next(rest, None)
        elif word == "-" or not word.startswith("-"):
            words.append(word)
    return options, words


def help_of(parameter: Parameter) -> str:
    """Return the help of a parameter with its rule, unless the metavar shows it: one sentence."""
    rule = f" ({parameter.rule})" if str(parameter.rule) and not _alternatives(parameter) else ""
    text = one_line(parameter.rule.help.rstrip(".") + rule)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _argument(key: str, parameter: Parameter, names: Sequence[str]) -> inspect.Parameter:
    """Return the argument that Typer reads; its value stays text, which the parameter converts."""
    # Typer would convert by its own rules, and print its own messages.
    annotation: Any = str | None
    default = None if parameter.default is None else str(parameter.default)
    if parameter.type is bool:
        annotation, default = bool, parameter.default
        names = [f"{name}/{_no(name)}" for name in names]
    elif parameter.type in (tuple, dict):
        annotation, default = list[str] | None, _listed(parameter.default)
    option = typer.Option(
        default,
        *names,
        help=help_of(parameter),
        metavar=_metavar(parameter),
        autocompletion=_completion(parameter),
    )
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(key, kind, default=option, annotation=annotation)


def _completion(parameter: Parameter) -> Callable[..., Any] | None:
    if parameter.rule.choices:
        return one_of(parameter.rule.choices)
    return sampler_names if parameter.is_nested else None


def _metavar(parameter: Parameter) -> str | None:
    type_ = str if parameter.rule.whole else parameter.type
    kind = "SAMPLER" if parameter.is_nested else METAVARS.get(type_)
    return _alternatives(parameter) or kind


def _alternatives(parameter: Parameter) -> str:
    """Return the choices of a parameter as a metavar, such as `a|b`; empty if they are too long."""
    text = "|".join(map(str, parameter.rule.choices or ()))
    return text if len(text) <= WIDEST else ""


def _listed(default: Any) -> Any:
    """Return the default of a list as you would type it; None if its items have commas."""
    plain = isinstance(default, tuple) and default and "," not in "".join(map(str, default))
    return [",".join(map(str, default))] if plain else None


def extended(
    command: Callable[..., Any], options: Sequence[ParameterOptions]
) -> Callable[..., Any]:
    """Return the command with more options, each kind after the option of that name.

    The command receives the built samplers, decoders and settings in its argument `built`, by kind.
    """
    signature = inspect.signature(command, eval_str=True)
    own = {name: p for name, p in signature.parameters.items() if name != "built"}
    more = {choice.kind: choice.arguments() for choice in options}
    arguments: dict[str, inspect.Parameter] = {}
    for name, argument in own.items():
        arguments[name] = argument.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        arguments |= more.pop(name, {})
    for several in more.values():
        arguments |= several

    def called(**values: Any) -> Any:
        fixed = {name: values.pop(name) for name in own}
        with Output.open():
            built = {choice.kind: choice.build(values) for choice in options}
        return command(**fixed, built=built)

    called.__name__, called.__doc__ = command.__name__, command.__doc__
    return with_arguments(called, list(arguments.values()))


def with_arguments(
    command: Callable[..., Any], arguments: Sequence[inspect.Parameter]
) -> Callable[..., Any]:
    """Return a command of which Typer makes an option for each of these arguments."""
    # Typer reads both.
    command.__signature__ = inspect.Signature(arguments)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in arguments}
    return command


def _free(kind: str, parameter: Parameter, reserved: Collection[str]) -> list[str]:
    name, *aliases = map(flag, (parameter.name, *parameter.rule.aliases))
    if name in reserved:
        name = flag(f"{kind}-{parameter.name}")
    return [name, *(alias for alias in aliases if alias not in reserved)]


def _no(name: str) -> str:
    return f"--no-{name[2:]}"


def _value(parameter: Parameter, value: Any) -> Any:
    """Return a value in a form that the parameter converts; None selects its default."""
    if parameter.type is tuple and value:
        return value[0] if len(value) == 1 else tuple(value)
    if parameter.type is dict and value:
        return dict(_pair(parameter, pair) for part in value for pair in part.split(","))
    return value


def _pair(parameter: Parameter, text: str) -> tuple[int | str, float | str]:
    key, equals, value = text.rpartition("=")  # the last one: a word may contain the sign
    if not equals:
        raise ParameterError(f"{parameter.name} must be KEY=VALUE, not {text!r}")
    return int(key) if key.isdecimal() else key, _number(value)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def offered_names(hook: str) -> Callable[[], list[str]]:
    """Return a completion of the names that plugins offer through a hook.

    Of `corelm_models` also the names of the models in corelm's home, and those of schemes.
    """

    def names() -> list[str]:
        with Output.open():
            if hook == "corelm_models":
                from corelm.registry.listed_models import list_models

                return [model.name for model in list_models()]
            from corelm.registry.registry import registry

            return [offer.name for offer in registry().offers(hook)]

    return names


sampler_names = offered_names("corelm_samplers")
decoder_names = offered_names("corelm_decoders")
model_names = offered_names("corelm_models")


def preset_names() -> list[str]:
    """Return the names of the presets."""
    return list(import_module("corelm_presets.engine_presets").presets())


def one_of(values: Sequence[object]) -> Callable[[], list[str]]:
    """Return a completion of fixed choices."""
    return lambda: [str(value) for value in values]


COMPLETING = "_CORELM_COMPLETE"
"""The environment variable that Typer's completion scripts set."""


def completed_words() -> list[str] | None:
    """Return the words before the one that the shell completes; None when it completes nothing.

    bash passes the whole line in COMP_WORDS, the other shells pass theirs in
    _TYPER_COMPLETE_ARGS.
    """
    if COMPLETING not in os.environ:
        return None
    import shlex

    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    try:
        words = shlex.split(line)
    except ValueError:  # a quotation mark that is still open
        return []
    # The last word is the one to complete, unless a space has ended it.
    if "COMP_CWORD" in os.environ:
        return words[1 : int(os.environ["COMP_CWORD"])]
    return words[1:] if line.endswith(" ") else words[1:-1]


def with_optional_values(words: Sequence[str]) -> list[str]:
    """Return a command line in which every option with an optional value has one.

    Example:
        >>> with_optional_values(["--stop-loop", "The film", "--stop-loop", "4"])
        ['--stop-loop=3', 'The film', '--stop-loop', '4']
    """
    end = words.index("--") if "--" in words else len(words)
    return [
        f"{word}={OPTIONAL[name]()}"
        if i < end and (name := flag(word[2:])) in OPTIONAL and not _is_value(name, after)
        else word
        for i, (word, after) in enumerate(zip_longest(words, words[1:], fillvalue=""))
    ]


def _is_value(name: str, word: str) -> bool:
    """Return True if a word after an option with an optional value is its value."""
    if name == "--color":  # any other word is the prompt
        return COLOR.rule.allows(word)
    return word.removeprefix("-").isdecimal()
