"""For authors of plugins: check names, and apply the laws to each offer."""

from __future__ import annotations

import ast
import dis
import inspect
import logging
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import MISSING, replace
from functools import partial
from importlib import metadata
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from corelm.abilities.stateless_model import SPECIAL
from corelm.cli.app import COMMANDS, CommandRegistry
from corelm.cli.output.describe import example
from corelm.cli.parameters import RESERVED, flag
from corelm.contracts.language_model import ModelScheme
from corelm.contracts.params import Parameterized
from corelm.contracts.sampling import Sampler
from corelm.decoding.draws import RandomStream
from corelm.decoding.state import DecodingTask
from corelm.errors import ParameterError, PluginError, UsageError
from corelm.generation.generate import Ancestral
from corelm.registry.expressions import Expression
from corelm.registry.listed_models import installed
from corelm.registry.loading import OWN, plugin_errors, stdout_to_stderr
from corelm.registry.offers import GROUPS, Offer, Source
from corelm.registry.registry import HOOKS, OBSERVER, Registry
from corelm.text.printable import did_you_mean, listed

LIKE_OURS = re.compile(
    r"corelms?(\.|$)|corelm[_-](sampler|decoder|model|metric|command|plugin|next_token|hook)", re.I
)
"""The groups that an author of a plugin takes for one of corelm's."""
LONGEST_DESCRIPTION = 200
"""The most characters of the first paragraph of a docstring, which lists show."""
FLAGS = ("is_argmax_invariant", "is_shift_invariant", "is_ancestral", "is_deterministic")
DECLARED = ("kind", "neutral", "example", "reads", "meaning", "limits", *FLAGS)
"""The attributes by which samplers, decoders and metrics describe themselves."""
LIMITS = {"sampler": 60.0, "decoder": 60.0, "metric": 60.0, "model": 600.0}
"""The seconds for one law; a large model takes minutes to load."""
UNTESTED = "is neutral by default: give it an `example` of other values, for the laws"
METHODS = {"allowed", "choose", "figure", "of_text", "of_token", "compare"}
"""The methods in which a `return` is easily forgotten, since None has a meaning or no message."""

T = TypeVar("T")


def faults_of_plugins(
    registry: Registry, commands: CommandRegistry, quick: bool = False
) -> Iterator[str]:
    """Yield a message for each mistake in plugins that load.

    Args:
        registry: the loaded plugins.
        commands: those that offer commands.
        quick: apply the first law of each kind alone, which makes the simplest call.
    """
    yield from _foreign_groups()
    yield from (*_misnamed(registry), *_misnamed(commands))
    own = {each.entry_point for each in commands.sources() if each.distribution == OWN}
    for source in commands.sources():
        if source.entry_point in own | COMMANDS.keys() and source.distribution != OWN:
            yield f"{source} has to be called so: corelm has a {source.entry_point}; rename it"
    yield from (*_lost_hooks(registry), *_failing(registry, quick))


def _misnamed(registry: Registry) -> Iterator[str]:
    """Yield a message for each entry point that has the name of nothing that it offers."""
    offered_by: dict[tuple[str, str], set[str]] = {}
    for offer in (offer for hook in registry.checks for offer in registry.offers(hook)):
        offered_by.setdefault(_module(offer.source), set()).add(offer.name)
    for source in registry.sources():
        if source.entry_point == OBSERVER or source in registry.failures:
            continue
        names = sorted(offered_by.get(_module(source), ()))
        if source.entry_point not in names:
            offered = listed(names) if names else "nothing"
            yield (
                f"the entry point {source} offers {offered}; give it the "
                "name of what it offers, so that asking for that imports this module alone"
            )


def _lost_hooks(registry: Registry) -> Iterator[str]:
    """Yield a message for each hook of a module that another one replaces, or that never loads."""
    observers = {_module(each) for each in registry.sources() if each.entry_point == OBSERVER}
    for source in {_module(each): each for each in registry.sources()}.values():
        module = sys.modules.get(source.value)
        if module is None or source.distribution == OWN or source in registry.failures:
            continue
        defined = [getattr(node, "name", "") for node in ast.parse(inspect.getsource(module)).body]
        for hook in HOOKS:
            if defined.count(hook) > 1:
                yield f"{source.value} defines {hook} twice; return all that it offers in one"
        if hasattr(module, OBSERVER) and _module(source) not in observers:
            yield (
                f"{source.value} has the hook {OBSERVER}, but no entry point of this name, so it "
                f"does not load with a text: add {OBSERVER} = {source.value!r}"
            )


def _foreign_groups() -> Iterator[str]:
    """Yield a message for each entry point of a group like corelm's that nothing reads."""
    points = ((point, each) for each in metadata.distributions() for point in each.entry_points)
    for point, distribution in points:
        group = point.group
        if group in GROUPS:
            continue
        needs_corelm = any(re.match(r"corelm\b(?!-)", each) for each in distribution.requires or ())
        if LIKE_OURS.match(group) or (needs_corelm and did_you_mean(group, GROUPS, cutoff=0.8)):
            yield (
                f"the entry point {point.name} = {point.value} is in the group {group}, "
                f"which nothing reads; the groups are {listed(GROUPS)}"
            )


def _module(source: Source) -> tuple[str, str]:
    """Return the distribution of an entry point, and the module that it names."""
    return source.distribution, source.value


def _failing(registry: Registry, quick: bool) -> Iterator[str]:
    """Yield a message for each offer, and each observer, that fails or breaks a law of its kind.

    What corelm itself offers is left out: its own tests apply the laws to it.
    """
    for kind in ("sampler", "decoder", "model", "metric"):
        offers = registry.offers(f"corelm_{kind}s")
        own = {offer.name for offer in offers if offer.source.distribution == OWN}
        for offer in offers:
            if offer.source.distribution == OWN:
                continue
            fault = _fault_of_class(offer.value) if kind != "model" else ""
            if offer.name in own:
                fault = f"has to be called so: {offer.name} is corelm's own; rename it"
            if fault := fault or _fault(kind, offer, quick):
                name = getattr(offer.value, "__qualname__", type(offer.value).__name__)
                yield f"the {kind} {offer.full_name} ({name} of corelm_{kind}s) {fault}"
    for name, reason in _reasons_of_observers(registry).items():
        yield f"the observer {name} (of {OBSERVER}) failed {reason}"


def _fault(kind: str, offer: Offer, quick: bool) -> str:
    """Return what is wrong with an offer, or ""."""
    from corelm.testing import LAWS, ToyModel  # takes 20 ms
    from corelm.testing.time_limit import EndlessError

    options = {"vocabulary": ToyModel().vocabulary} if kind == "sampler" else {}

    def make() -> Any:
        if isinstance(offer.value, ModelScheme):  # a model of it needs a file
            return installed(offer)
        try:
            made = example(offer.value, offer.full_name) if kind == "sampler" else offer.value()
        except ParameterError:  # which hides that a parameter has no default
            made = offer.value()
        f"{made} {made!r}"  # its labels in reports and messages
        vocabulary = getattr(made, "vocabulary", None)
        values = {**vars(type(vocabulary)), **getattr(vocabulary, "__dict__", {})}
        if fault := _misspelt(values, {*SPECIAL, "ends"} - values.keys()):
            raise PluginError(f"its vocabulary {fault}")
        return made

    def broken(thing: Any, law: Callable[..., None]) -> str:
        try:
            law(thing, **options)
        except AssertionError as error:
            # Words that the toy vocabulary lacks are no mistake.
            is_lack = kind == "sampler" and isinstance(error.__cause__, UsageError)
            return "" if is_lack else f"breaks the law {law.__name__}: {error}"
        return ""

    try:
        thing = _guarded(make, LIMITS[kind])
        laws = () if isinstance(thing, list) else LAWS[kind][:1] if quick else LAWS[kind]
        questions = [partial(broken, thing, law) for law in laws]
        if kind == "sampler" and not quick:
            questions += [partial(broken, each, laws[0]) for each in _at_bounds(thing)]
        fault = next(filter(None, (_guarded(each, LIMITS[kind]) for each in questions)), "")
        return fault or (UNTESTED if kind == "sampler" and not quick and thing.is_neutral else "")
    except PluginError as error:
        # A sampler may need parameters.
        is_lack = kind == "sampler" and isinstance(error.__cause__, UsageError)
        return "" if is_lack else f"failed in a call: {error}"
    except EndlessError as error:
        return str(error)


def _at_bounds(sampler: Sampler) -> Iterator[Sampler]:
    """Yield the sampler with each parameter at the ends of its range, where it may divide by 0."""
    for parameter in sampler.parameters():
        for bound in (parameter.rule.ge, parameter.rule.le):
            if bound is not None:
                with suppress(ParameterError):  # two parameters may exclude each other
                    yield replace(sampler, **{parameter.name: bound})


def _guarded(work: Callable[[], T], seconds: float) -> T:
    """Call a plugin's code with limits on its errors, its output and its time."""
    from corelm.testing.time_limit import within

    def call() -> T:
        with plugin_errors(), stdout_to_stderr(), np.errstate(all="ignore"):
            return work()

    return within(seconds, call)


def _reasons_of_observers(registry: Registry) -> Mapping[str, str]:
    """Show the steps of a short text to all observers; return the reason of each that fails."""
    from corelm.testing import ToyModel

    prompt, sampler = np.array([3, 4]), Expression.built_in("stochastic")
    task = DecodingTask(ToyModel(), prompt, sampler, RandomStream(1, (0, 1)), 6)
    logger = logging.getLogger("corelm")
    logger.setLevel(logging.ERROR)  # the reasons are faults, not warnings
    for step in Ancestral()(task):
        registry.observe(step)
    logger.setLevel(logging.WARNING)
    return registry.silenced


def _fault_of_class(cls: type[Parameterized]) -> str:
    """Return what is wrong with a class's attributes, docstring or defaults, or ""."""
    fields = {each.name for each in cls.parameters()}
    own = {name: value for name, value in vars(cls).items() if name not in fields}
    if fault := _misspelt(own, DECLARED):
        return fault
    if len(cls.description()) > LONGEST_DESCRIPTION:
        return (
            f"has a description of {len(cls.description())} characters: lists show the first "
            f"paragraph of the docstring, so write at most {LONGEST_DESCRIPTION} there"
        )
    init = vars(cls).get("__post_init__")
    if init and init.__name__ not in init.__code__.co_names:
        return "has a __post_init__ that checks no parameter: begin with super().__post_init__()"
    for method in METHODS & vars(cls).keys():
        if inspect.isfunction(vars(cls)[method]) and _returns_nothing(vars(cls)[method]):
            return f"returns nothing in {method}"
    examples = getattr(cls, "example", {})
    for parameter in cls.parameters():
        default = parameter.default
        try:
            for value in (default, examples.get(parameter.name, default)):
                if value is not MISSING:
                    parameter.convert(value)
        except ParameterError as error:
            return f"refuses its own {'default' if value is default else 'example'}: {error}"
    return ""


def _returns_nothing(method: Any) -> bool:
    """Return True if a method ends with None on each path, as without a `return`."""
    steps = [*pairwise(dis.get_instructions(method))]
    # The value is pushed before it is returned; Python 3.12 and 3.13 do both at once for None.
    ends = {"RETURN_VALUE": 0, "RETURN_CONST": 1}
    values = [pair[ends[pair[1].opname]] for pair in steps if pair[1].opname in ends]
    # `return a if b else None` jumps from a to the return that follows None.
    if any(step.opname == "RETURN_VALUE" and step.is_jump_target for _, step in steps):
        return False
    return bool(values) and all("CONST" in v.opname and v.argval is None for v in values)


def _misspelt(values: Mapping[str, Any], names: Collection[str]) -> str:
    """Return a message if an attribute nearly has one of these names, or ""."""
    own = {name for name, value in values.items() if name[0] != "_" and not callable(value)}
    for name in own - {*names}:
        if hint := did_you_mean(name, names, cutoff=0.8):
            return f"has the attribute {name}, which nothing reads{hint}"
    return ""


def shadowing_parameters(registry: Registry) -> Iterator[str]:
    """Yield a warning for each parameter whose option a command already has."""
    for kind in ("sampler", "decoder"):
        for offer in registry.offers(f"corelm_{kind}s"):
            for name in (each.name for each in offer.value.parameters()):
                if flag(name) in RESERVED:
                    yield (
                        f"{kind} {offer.full_name}: the commands have an option {flag(name)}, so "
                        f"the parameter {name} is given as {flag(f'{kind}-{name}')}; another name "
                        "is easier"
                    )
