"""Public names for programs that generate many texts: reports, servers, harnesses, engines.

A sampler, a decoder or a metric needs `corelm` and `corelm.filters` alone. Some names are modules:
what belongs to one matter is used with its name, as in `scaling.Job` and `printable.one_line`. Each
lists its public names.
"""

import typing

from corelm.lazy import on_first_use

if typing.TYPE_CHECKING:
    from corelm import machine as machine
    from corelm import markup as markup
    from corelm import params as params
    from corelm import printable as printable
    from corelm import scaling as scaling
    from corelm import stages as chain_stages
    from corelm.bounded_calls import BoundedCalls as BoundedCalls
    from corelm.context import ContextBuilder as ContextBuilder
    from corelm.decoding.step import ModelLogits as ModelLogits
    from corelm.divergences import ModelRows as ModelRows
    from corelm.generation.continuous_batch import ContinuousBatch as ContinuousBatch
    from corelm.generation.endings import Endings as Endings
    from corelm.generation.generate import Texts as Texts
    from corelm.generation.grouped_session import start_rows as start_rows
    from corelm.generation.open_texts import OpenTexts as OpenTexts
    from corelm.generation.prompts import PrefixCache as PrefixCache
    from corelm.generation.teacher_forcing import ForcedTokens as ForcedTokens
    from corelm.models import NamedModel as NamedModel
    from corelm.models.atomic_files import SafeFile as SafeFile
    from corelm.registry import plugins as plugins
    from corelm.registry.expressions import Expression as Expression
    from corelm.registry.strategies import Strategy as Strategy
    from corelm.text_lines import text_lines as text_lines

__all__ = [
    "BoundedCalls",
    "ContextBuilder",
    "ContinuousBatch",
    "Endings",
    "Expression",
    "ForcedTokens",
    "ModelLogits",
    "ModelRows",
    "NamedModel",
    "OpenTexts",
    "PrefixCache",
    "SafeFile",
    "Strategy",
    "Texts",
    "chain_stages",
    "machine",
    "markup",
    "params",
    "plugins",
    "printable",
    "scaling",
    "start_rows",
    "text_lines",
]

_HOMES = {
    "BoundedCalls": "corelm.bounded_calls:BoundedCalls",
    "ContextBuilder": "corelm.context:ContextBuilder",
    "ContinuousBatch": "corelm.generation.continuous_batch:ContinuousBatch",
    "Endings": "corelm.generation.endings:Endings",
    "Expression": "corelm.registry.expressions:Expression",
    "ForcedTokens": "corelm.generation.teacher_forcing:ForcedTokens",
    "ModelLogits": "corelm.decoding.step:ModelLogits",
    "ModelRows": "corelm.divergences:ModelRows",
    "NamedModel": "corelm.models:NamedModel",
    "OpenTexts": "corelm.generation.open_texts:OpenTexts",
    "PrefixCache": "corelm.generation.prompts:PrefixCache",
    "SafeFile": "corelm.models.atomic_files:SafeFile",
    "Strategy": "corelm.registry.strategies:Strategy",
    "Texts": "corelm.generation.generate:Texts",
    "chain_stages": "corelm.stages",
    "machine": "corelm.machine",
    "markup": "corelm.markup",
    "params": "corelm.params",
    "plugins": "corelm.registry.plugins",
    "printable": "corelm.printable",
    "scaling": "corelm.scaling",
    "start_rows": "corelm.generation.grouped_session:start_rows",
    "text_lines": "corelm.text_lines:text_lines",
}
"""The module of each name, imported on first use: a program needs few, and all take 23 modules."""

__getattr__ = on_first_use(__name__, _HOMES)
