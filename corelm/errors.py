"""Everything that can go wrong, as one tree.

    CorelmError
      UsageError               what was asked for cannot be done (the command line exits with 2)
        ParameterError         a parameter has a value outside its rule
        ExpressionError        a sampler expression that cannot be read
        UnknownNameError       no such sampler, decoder or model
        AmbiguousNameError     two plugins offer one name
        UnreachableError       no value of a parameter gives the entropy that is wanted
      SamplerError             a sampler raised, or returned something that is no distribution
      ModelOutputError         a model's logits that no sampler could use
      PluginError              a plugin that could not be loaded, or offers the wrong thing
      ModelFileError           a model on disk that is damaged, foreign or incomplete
      DataError                a data set that is missing, empty, damaged or unsafe
      TrainingError            training that cannot start, go on or be resumed
      ReportError              a report that is damaged or foreign, or cannot be kept
      MissingDependencyError   a package that only this command needs is not there

Every message is one sentence or two for a person: the thing at fault, the reason, the way out.
"""

from __future__ import annotations


class CorelmError(Exception):
    """The root: catch it to catch all that corelm raises on purpose."""


class UsageError(CorelmError, ValueError):
    """What was asked for cannot be done."""


class ParameterError(UsageError):
    """A parameter has a value outside its rule."""


class ExpressionError(UsageError):
    """A sampler expression that cannot be read."""


class UnknownNameError(UsageError, LookupError):
    """No such sampler, decoder or model."""


class AmbiguousNameError(UsageError, LookupError):
    """Two plugins offer one name; their full names tell them apart."""


class UnreachableError(UsageError):
    """No value of a sampler's parameter gives the entropy that is wanted."""


class SamplerError(CorelmError):
    """A sampler raised, or returned something that is no distribution."""


class ModelOutputError(CorelmError):
    """A model's logits that no sampler could use: NaN, +infinity, an empty row, a wrong shape."""


class PluginError(CorelmError):
    """A plugin that could not be loaded, or that offers the wrong thing."""


class ModelFileError(CorelmError):
    """A model on disk that is damaged, foreign or incomplete."""


class DataError(CorelmError):
    """A data set that is missing, empty, damaged or unsafe."""


class TrainingError(CorelmError):
    """Training that cannot start, go on or be resumed."""


class ReportError(CorelmError):
    """A report that is damaged or foreign, or that cannot be kept or written."""


class MissingDependencyError(CorelmError):
    """A package that only this command needs is not there."""
