"""The settings of a report, declared once: Python, the command line and studies read them here.

A setting has a name, a kind, a default and a help line. `corelm.compare` takes it as a keyword,
`corelm report` as an option and the file of a study as a key; the kind says how each of them reads
its value. A plan keeps the values, so that `--resume` and the results of a study notice a change.

A new setting is declared here with `is_plain=True`, and used where the texts are measured as
`plan.plain["name"]`. The page, the JSON and `help(corelm.compare)` then have it too.
"""

import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ForwardRef, Literal, TypedDict, TypeVar, get_args

import corelm_stats

if TYPE_CHECKING:
    from corelm import Decoder, Sampler, StatelessModel

N, LENGTH, SEED = corelm_stats.TEXTS, corelm_stats.LENGTH, 1
"""The texts of each sampler for each prompt, the tokens of a text, the random seed."""
TEXTS = 5
"""The number of each prompt's first texts that a report keeps."""
CONTEXTS = 32
"""The most texts on whose positions the samplers are compared."""
DEFAULT = ("greedy", *(f"temperature(t={t})" for t in (0.2, 0.5, 0.7, 1.0, 1.5)), "uniform",
           "top_p(p=0.9)")  # fmt: skip
MATCHED = ("temperature", "top_p", "min_p", "typical")
"""The default samplers to compare or match, corelm's own."""

Prompts = Sequence[str] | Mapping[str, str]
"""The prompts, or a mapping from each prompt to its cluster."""

Kind = Literal[
    "count", "seed", "seeds", "kept", "text", "texts", "path", "prompts", "model", "flag"
]


@dataclass(frozen=True)
class ReportSetting:
    """One setting of a report.

    Attributes:
        kind: how its value is read from a command line and from a study.
        help: its help line.
        default: the value if it isn't given.
        metavar: the placeholder for its value.
        option: its name on the command line alone, for an option that may be given several times.
        short: its option, in place of a long one.
        is_plain: the plan only checks its value, and keeps it in `plain`.
    """

    kind: Kind
    help: str
    default: Any = None
    metavar: str = "INTEGER"
    option: str = ""
    short: str = ""
    is_plain: bool = False


class ReportSettings(TypedDict, total=False):
    """The settings of a report, with their types in Python.

    Types of corelm are quoted, so that settings are read without any sampler.
    """

    reference: Annotated[
        str | Path | Sequence[str] | None,
        ReportSetting(
            "path",
            "Human texts to compare with: a folder of .txt files, or one file; of a .jsonl file "
            "with a prompt and a text in each line, the prompts are continued. Default: the "
            "reviews of `corelm data imdb`, if they were downloaded.",
            metavar="PATH",
        ),
    ]
    contexts: Annotated[
        int | str,
        ReportSetting(
            "count",
            "The largest number of texts on whose positions the samplers are compared.",
            CONTEXTS,
        ),
    ]
    prompts: Annotated[
        str | Prompts | None,
        ReportSetting(
            "prompts",
            "A file of prompts, one a line, or JSON lines with the cluster of each, such as its "
            'document: a .jsonl file of {"prompt": ..., "cluster": ...}. Default: each text has a '
            "beginning of its own, of human texts if there are any, else drawn from the model.",
            metavar="FILE",
        ),
    ]
    chat: Annotated[
        bool,
        ReportSetting(
            "flag",
            "The prompts are messages to a chat model, in its template.",
            False,
            is_plain=True,
        ),
    ]
    prompts_from_reference: Annotated[
        int | str | None,
        ReportSetting(
            "count",
            "As by default, but with beginnings of this many tokens and -n texts for each: the "
            "first tokens of each human text are a prompt, and human text is their continuations. "
            "At most --contexts prompts, at least 8.",
        ),
    ]
    n: Annotated[
        int | str,
        ReportSetting(
            "count",
            "The number of texts of each sampler for each prompt; without prompts, in all.",
            N,
            short="-n",
        ),
    ]
    length: Annotated[
        int | str,
        ReportSetting(
            "count",
            "The largest number of tokens in a text; by default beginnings are part of it.",
            LENGTH,
        ),
    ]
    seed: Annotated[int | str | None, ReportSetting("seed", f"The random seed. Default: {SEED}.")]
    seeds: Annotated[
        str | Sequence[int | str] | None,
        ReportSetting(
            "seeds",
            "Several random seeds instead, such as 1..5 or 1,2,7: every sampler writes texts for "
            "each, and the report has the spread of its figures over them.",
            metavar="LIST",
        ),
    ]
    match: Annotated[
        str | Iterable[str],
        ReportSetting(
            "texts",
            "Choose the open parameter of each sampler, such as top_p, so that a figure on the "
            "same contexts has this value: entropy=3, mass_kept=0.9, human_recall=0.95, or "
            "surprisal=human for human text; may be given more than once, each for an entry.",
            (),
            "FIGURE=VALUE",
        ),
    ]
    against: Annotated[
        "str | Sampler | Decoder | None",
        ReportSetting(
            "text",
            "The entry that the others are compared with. Default: human text if there is any, "
            "else the first sampler. Texts at other places than human text are compared with it "
            "only if it is named here.",
            metavar="SAMPLER|human",
        ),
    ]
    metrics: Annotated[
        str | Iterable[str],
        ReportSetting(
            "texts",
            "Measure this figure of the texts too, which a plugin offers (`corelm plugins` lists "
            'them), by its name or with parameters, such as "mattr(window=30)"; may be given more '
            "than once.",
            (),
            "METRIC",
            option="metric",
        ),
    ]
    scorer: Annotated[
        "StatelessModel | str | os.PathLike[str] | None",
        ReportSetting(
            "model",
            "Measure the surprisal of the texts under this model too, in nats per token and in "
            "bits per byte.",
            metavar="NAME|PATH",
        ),
    ]
    texts: Annotated[
        int | str,
        ReportSetting(
            "kept",
            "The number of texts of each prompt that the report keeps, with the figures of each "
            "text and token.",
            TEXTS,
            "INTEGER|all",
        ),
    ]


TYPES: Mapping[str, Any] = {
    name: get_args(hint)[0] for name, hint in ReportSettings.__annotations__.items()
}
SETTINGS: Mapping[str, ReportSetting] = {
    name: get_args(hint)[1] for name, hint in ReportSettings.__annotations__.items()
}
DEFAULTS: Mapping[str, Any] = {name: each.default for name, each in SETTINGS.items()}

F = TypeVar("F", bound=Callable[..., Any])


def with_settings(function: F) -> F:
    """Give a function that takes `**settings` a keyword for each setting, described by its help.

    A description in the function's own docstring, which may say more, is left as it is.
    """
    signature = inspect.signature(function)
    *own, _ = signature.parameters.values()
    named = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=_type_of(name)
        )
        for name, each in SETTINGS.items()
    ]
    at = next((i for i, each in enumerate(own) if each.kind is each.KEYWORD_ONLY), len(own))
    function.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*own[:at], *named, *own[at:]]
    )
    function.__doc__ = _described(function.__doc__ or "")
    return function


def _described(docstring: str) -> str:
    """Add the help of the settings that a docstring doesn't describe to its `Args`."""
    # Python 3.13 and later strip the indentation.
    args, raises, rest = inspect.cleandoc(docstring).partition("\n\nRaises:")
    missing = [name for name in SETTINGS if not re.search(rf"^ +{name}: ", args, re.MULTILINE)]
    lines = [f"\n    {name}: {SETTINGS[name].help}" for name in missing]
    return "".join((args, *lines, raises, rest))


def _type_of(name: str) -> str:
    """Return the type of a setting as source code, without the modules of its names."""
    kind = TYPES[name]
    text = kind.__forward_arg__ if isinstance(kind, ForwardRef) else str(kind)
    return re.sub(r"\b(\w+\.)+", "", text)
