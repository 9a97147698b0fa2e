"""Find and load models by name or path.

Plugins offer the named models and the reader of paths; corelm's own are plugins too.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from corelm.errors import AmbiguousNameError, CorelmError, PluginError, UnknownNameError, UsageError
from corelm.machine import home, is_bundle
from corelm.registry.listed_models import READER, list_models
from corelm.registry.loading import OWN
from corelm.registry.offers import Offer, Source, is_scheme
from corelm.registry.registry import registry
from corelm.text.markup import Displayable, Table
from corelm.text.printable import did_you_mean, listed, reason_of, shown

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from corelm.contracts.language_model import LanguageModel, StatelessModel
    from corelm.numerics.distributions import Array

    Loader = Callable[[], LanguageModel]

__all__ = ["as_model", "loaded_name", "plugin_of"]


def load(
    name: str | os.PathLike[str], *, device: str | None = None, dtype: str | None = None
) -> LanguageModel:
    """Load a model by name or path.

    Args:
        name: a name that a plugin offers; or a model in the folder `models` of corelm's home,
            or in the current folder; or the path of a folder or of a `.keras` file; or a scheme
            that a plugin offers, a colon and the rest, such as `gguf:FILE`.
        device: the device of the model, such as `cuda`; for schemes that have a choice.
        dtype: the number format of its weights, such as `bfloat16`; for schemes that have a choice.

    Raises:
        UsageError: a device or dtype for a model that has no choice of them, or a model of another
            engine without its scheme.
        UnknownNameError: no model of that name; the message has the nearest names.
        AmbiguousNameError: several; the message tells them apart.
        ModelFileError: a model that is missing, damaged or foreign.

    Example:
        >>> import corelm
        >>> len(corelm.load("imdb").vocabulary)
        15000
    """
    if not isinstance(name, str | os.PathLike):
        raise UsageError(f"a model is a name or a path, not {shown(name)}")
    options = {"device": device, "dtype": dtype}
    chosen = {key: value for key, value in options.items() if value is not None}
    model = lifted(_loaded(name, chosen))
    with suppress(TypeError):  # the name of a model that allows no weak references isn't remembered
        _loads[id(model)] = weakref.ref(model), LoadedAs(str(name), device, dtype)
    return model


class LoadedAs(NamedTuple):
    """The arguments with which a model was loaded.

    Attributes:
        name: its name or path.
        device: its device, for models with a choice.
        dtype: the number format of its weights, for models with a choice.
    """

    name: str
    device: str | None
    dtype: str | None


_loads: dict[int, tuple[weakref.ref[LanguageModel], LoadedAs]] = {}


def loaded_as(model: object) -> LoadedAs | None:
    """Return the arguments with which a model was loaded; None if it was made otherwise.

    Example:
        >>> import corelm
        >>> loaded_as(corelm.load("imdb"))
        LoadedAs(name='imdb', device=None, dtype=None)
    """
    # Once a model is gone, another object may get its id.
    reference, loaded = _loads.get(id(model), (None, None))
    return loaded if reference is not None and reference() is model else None


def loaded_name(model: object) -> str | None:
    """Return the name or path by which a model was loaded; None if it was made otherwise."""
    loaded = loaded_as(model)
    return None if loaded is None else loaded.name


class DisplayableModel(Displayable):
    """A base class of models with sessions, which shows their names and sizes.

    Attributes:
        files: those that it was read from, if they alone decide it: their checksum identifies it.
    """

    files: Sequence[Path] = ()

    def next_token_distribution(self, tokens: ArrayLike) -> Array:
        """Map (batch, time) ids to (batch, vocabulary) probabilities."""
        # The listing of models needs no NumPy.
        from corelm.numerics.distributions import softmax

        return softmax(cast("LanguageModel", self).start(tokens).next_logits())

    def _facts(self) -> dict[str, str]:
        model = cast("LanguageModel", self)
        return {
            "vocabulary": f"{len(model.vocabulary):,} tokens",
            "context": f"{model.context_length:,} tokens",
        }

    def _parts(self) -> list[Table]:
        name = loaded_name(cast("LanguageModel", self)) or type(self).__name__
        return [Table(["", name], [*self._facts().items()])]


def _loaded(name: str | os.PathLike[str], options: Mapping[str, str]) -> LanguageModel:
    scheme = _scheme(name)
    if scheme:
        return _from_scheme(*scheme, options)
    if options:
        raise UsageError(f"the model {name!s} has no choice of {' or '.join(options)}")
    return _from_path(name) if is_path(name) else _from_name(str(name))


def as_model(model: StatelessModel | str | os.PathLike[str]) -> LanguageModel:
    """Return a language model with sessions, or load the one of a name or path.

    Raises:
        UsageError: neither a model nor the name of one.

    Example:
        >>> from corelm.testing import ToyModel
        >>> toy = ToyModel()
        >>> as_model(toy) is toy, len(as_model("imdb").vocabulary)
        (True, 15000)
    """
    if isinstance(model, str | os.PathLike):
        return load(model)
    if not hasattr(model, "vocabulary"):
        raise UsageError(f"a model is a name, a path or a language model, not {shown(model)}")
    return lifted(model)


def lifted(model: StatelessModel) -> LanguageModel:
    """Return a model with sessions and special tokens: itself if it has them.

    Args:
        model: has `vocabulary`, `context_length` and `next_token_distribution`.

    Example:
        >>> import numpy as np
        >>> class Coin:
        ...     '''Predict heads or tails.'''
        ...     context_length = 10
        ...     class vocabulary:
        ...         encode = staticmethod(lambda text: ["HT".index(side) for side in text])
        ...         decode = staticmethod(lambda ids: "".join("HT"[i] for i in ids))
        ...         __len__ = lambda self: 2
        ...     vocabulary = vocabulary()
        ...     def next_token_distribution(self, tokens):
        ...         return np.tile([0.75, 0.25], (len(tokens), 1))
        >>> session = lifted(Coin()).start([[0, 1]])
        >>> np.exp(session.next_logits()).tolist()
        [[0.75, 0.25]]
    """
    from corelm.contracts.language_model import check_model, has_special_tokens

    check_model(model)
    if hasattr(model, "start") and has_special_tokens(model.vocabulary):
        return model  # type: ignore[return-value]
    from corelm.abilities.stateless_model import LiftedModel  # few models need it

    return LiftedModel(model)


def plugin_of(model: object) -> Source | None:
    """Return the plugin that loads a model; None for a file's, or one that the program made.

    Args:
        model: the model, or its name.

    Raises:
        UnknownNameError: no model has this name.
    """
    if isinstance(model, str):
        return _plugin_of_name(model)
    name = loaded_name(model)
    with suppress(UnknownNameError):  # the path was relative, and the current folder has changed
        return None if name is None else _plugin_of_name(name)
    return None


def _plugin_of_name(name: str) -> Source | None:
    scheme = _scheme(name)
    if scheme is None and (is_path(name) or _places(name)):
        return None
    return registry().find("corelm_models", scheme[0] if scheme else name).source


def is_path(name: str | os.PathLike[str]) -> bool:
    """Return True if `load` takes the name for a path."""
    if not isinstance(name, str):
        return True
    return "/" in name or os.sep in name or name.endswith(".keras") or name in (".", "..", "~")


def _scheme(name: str | os.PathLike[str]) -> tuple[str, str] | None:
    """Split a name into its scheme and the rest; None for paths and for names without a scheme."""
    if not isinstance(name, str) or ":" not in name:
        return None
    sources = registry().sources()
    first, _, rest = name.partition(":")
    # DISTRIBUTION:SCHEME:REST tells equal schemes apart, like a sampler's full name.
    if first in {source.distribution for source in sources}:
        second, colon, rest = rest.partition(":")
        return (f"{first}:{second}", rest) if colon else None
    return (first, rest) if first in {source.entry_point for source in sources} else None


def _from_scheme(name: str, rest: str, options: Mapping[str, str]) -> LanguageModel:
    offer = registry().find("corelm_models", name)
    scheme = offer.value
    if not is_scheme(scheme):
        raise UsageError(f"the model {name!r} takes nothing after its name, not {rest!r}")
    if not rest:
        raise UsageError(f"give the model to open: {name}:{scheme.metavar}")
    foreign = sorted(options.keys() - set(scheme.options))
    if foreign:
        raise UsageError(f"models of {name!r} have no choice of {foreign[0]}")
    return _called(offer, partial(scheme.open, rest, **options))


def _from_path(path: str | os.PathLike[str]) -> LanguageModel:
    offer = registry().find("corelm_models", READER)
    return _called(offer, partial(offer.value.open, os.path.expanduser(path)))


def _from_name(name: str) -> LanguageModel:
    choices: dict[str, Loader] = {place: partial(_from_path, place) for place in _places(name)}
    # A name that is not an entry point costs the import of every plugin, unless a local model has
    # it.
    if not choices or name in {source.entry_point for source in registry().sources()}:
        try:
            offer = registry().find("corelm_models", name)
            choices[offer.full_name] = partial(_from_plugin, offer, name)
        except UnknownNameError as error:
            if not choices:
                raise _unknown(name, error) from None
    if len(choices) > 1:
        raise AmbiguousNameError(
            f"{len(choices)} models are called {name!r}; say which one: {' or '.join(choices)}"
        )
    return next(iter(choices.values()))()


def _places(name: str) -> list[str]:
    """Return the paths of models with this name in corelm's home and the current folder."""
    if name.startswith(f"{OWN}:"):  # the path is in the name
        return []
    places = {str(home() / "models" / name), os.path.join(".", name)}
    return [place for place in sorted(places) if is_bundle(Path(place))]


def _from_plugin(offer: Offer, name: str) -> LanguageModel:
    if is_scheme(offer.value):
        raise UsageError(f"give the model to open: {name}:{offer.value.metavar}")
    return _called(offer, offer.value)


def _called(offer: Offer, loader: Loader) -> LanguageModel:
    failed = f"the model {offer.full_name} could not be loaded"
    try:
        model = loader()
    except (CorelmError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise PluginError(f"{failed}: {reason_of(error)}") from error
    if model is None:
        raise PluginError(f"{failed}: its loader returned None")
    return model


def _unknown(name: str, error: UnknownNameError) -> UnknownNameError:
    if any(name in (source.entry_point, str(source)) for source in registry().failures):
        return error  # it has the reason why the plugin failed
    if os.path.exists(name):
        try:
            _from_path(name)
        except UsageError as refusal:  # it names the way to open a model of another engine
            return UnknownNameError(f"there is no model {name!r}; {refusal}")
        except CorelmError:
            pass
    names = sorted({model.name for model in list_models()})
    hint = did_you_mean(name, names)
    return UnknownNameError(
        f"there is no model {name!r}{hint} (there are: {listed(names)}; "
        f"for a folder or a .keras file give its path, such as ./{name})"
    )
