"""The tree of errors that corelm raises on purpose.

    CorelmError
    ├── UsageError              a request that cannot be met; the command line exits with 2
    │   ├── ParameterError      a parameter with a value outside its rule
    │   ├── ExpressionError     a sampler expression that cannot be read
    │   ├── UnknownNameError    no sampler, decoder or model of that name
    │   ├── AmbiguousNameError  one name that several plugins offer
    │   ├── UnreachableError    no value of a parameter gives the wanted entropy
    │   └── TooMuchError        a call that exceeds its limit of time or memory
    ├── SamplerError            a sampler raised an error or returned invalid logits
    ├── ModelOutputError        logits of a model that no sampler could use
    ├── PluginError             a plugin that cannot be loaded, or offers something invalid
    ├── ModelFileError          a model on disk that is damaged, foreign or incomplete
    ├── DataError               a data set that is missing, empty, damaged or unsafe
    ├── TrainingError           training that cannot start, continue or be resumed
    ├── SettingsError           another engine's settings that cannot be read or written
    ├── ExecutorError           workers that die, or that cannot do the work
    ├── ReportError             a report that is damaged or foreign, or cannot be stored
    └── MissingDependencyError  a package that only this command needs is not installed

Every message is one or two sentences: the value or thing at fault, the rule or the reason, the way
out.
"""

from __future__ import annotations


class CorelmError(Exception):
    """The root: catch it to catch every error that corelm raises on purpose."""


class UsageError(CorelmError, ValueError):
    """A request that cannot be met."""


class ParameterError(UsageError):
    """A parameter with a value outside its rule."""


class ExpressionError(UsageError):
    """A sampler expression that cannot be read."""


class UnknownNameError(UsageError, LookupError):
    """No sampler, decoder or model of that name."""


class AmbiguousNameError(UsageError, LookupError):
    """One name that several plugins offer; their full names tell them apart."""


class UnreachableError(UsageError):
    """No value of a sampler's parameter gives the wanted entropy."""


class TooMuchError(UsageError):
    """A call that exceeded its limit of time or memory."""


class SamplerError(CorelmError):
    """A sampler raised an error or returned invalid logits."""


class ModelOutputError(CorelmError):
    """Logits of a model that no sampler could use: NaN, +infinity, an empty row, a wrong shape."""


class PluginError(CorelmError):
    """A plugin that cannot be loaded, or offers something invalid."""


class ModelFileError(CorelmError):
    """A model on disk that is damaged, foreign or incomplete."""


class DataError(CorelmError):
    """A data set that is missing, empty, damaged or unsafe."""


class TrainingError(CorelmError):
    """Training that cannot start, continue or be resumed."""


class SettingsError(CorelmError):
    """Another engine's settings that cannot be read, or cannot express a chain."""


class ExecutorError(CorelmError):
    """Workers that die, that cannot be reached, or that have other versions."""


class ReportError(CorelmError):
    """A report that is damaged or foreign, or cannot be stored or written."""


class MissingDependencyError(CorelmError):
    """A package that only this command needs is not installed."""
