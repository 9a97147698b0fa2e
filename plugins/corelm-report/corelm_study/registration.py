"""Registrations: everything that decides the results of a study, written before they are measured.

Anybody can edit a file and a clock. So the cache of results remembers which registrations were
written here, and when each result was measured; for readers elsewhere there is the checksum.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from corelm.errors import ModelFileError, ReportError
from corelm.runs import SafeFile, scaling
from corelm_report.document.parts import Json
from corelm_study.unit_cache import UnitCache, digest

LOCK, REGISTRATION = "study.json", "registration.json"
LARGEST = 2**22
"""Bytes of a lock or a registration at most."""
TEXTS = "human texts"
DIGESTS = (TEXTS, "prompts")
"""The digests of the data of each model's report: of each human text, and of all prompts."""


def changes(before: Json, now: Json) -> str:
    """Describe the settings, versions and digests that differ between two locks; empty if none do.

    Raises:
        KeyError, TypeError, AttributeError: one of them is no lock.
    """
    first, second = _flat(before), _flat(now)
    for name in first.keys() & second.keys():
        values = first[name], second[name]
        if name.startswith(TEXTS) and all(isinstance(value, list) for value in values):
            # A study with more texts of each sampler reads more human texts, after the same ones.
            common = min(map(len, values))
            is_same = common > 0 and values[0][:common] == values[1][:common]
            first[name], second[name] = digest(values[0]), digest(values[not is_same])
    return scaling.differences(first, second)


def _flat(lock: Json) -> Json:
    """Return the settings, versions and digests of a lock by name."""
    models = {f"model {each['name']}": each.get("sha256") for each in lock["models"]}
    data = {
        f"{name} of {each['name']}": each["digests"].get(name)
        for each in lock["models"]
        for name in DIGESTS
    }
    weights = {f"model {name}": each for name, each in lock.get("weights", {}).items()}
    named = {"code": lock["code"], "values of secrets": lock.get("secrets", {})}
    parts = (lock["settings"], lock["versions"], lock["plugins"], named, models, data, weights)
    return {key: value for part in parts for key, value in part.items()}


def register(folder: Path, made: Json, cache: UnitCache) -> tuple[Path, str | None]:
    """Write the registration of a study, once; return its file, and when it was there before.

    Args:
        folder: the folder of the study's results.
        made: everything that decides the results.
        cache: remembers that the registration was written here.

    Raises:
        ReportError: there are results already, or the registration of another study.
    """
    path = folder / REGISTRATION
    if path.exists():
        before = _read(path)
        if differences := changes(before, made):
            raise ReportError(
                f"{str(path)!r} registered another study on {before['created']} ({differences}); "
                "it stays as it was, so give the changed study another `folder`"
            )
        return path, before["created"]
    if (folder / LOCK).exists():
        raise ReportError(
            f"{str(folder)!r} has results already, and a registration comes before them; give the "
            "study another `folder`"
        )
    folder.mkdir(parents=True, exist_ok=True)
    created = datetime.now(UTC)
    SafeFile(path).write_json(made | {"created": created.isoformat(timespec="seconds")})
    cache.put(_key(path), "{}", created.timestamp())
    return path, None


def compared(folder: Path, lock: Json, cache: UnitCache) -> Json | None:
    """Compare results with the registration of their study; None if it wasn't registered.

    Args:
        folder: the folder of the results.
        lock: everything that decided them.
        cache: the results that were read and measured.

    Returns:
        When it was registered and what has changed since; the checksum of the file, and if it was
        written on this machine; when the first result was measured, if that was earlier.
    """
    path = folder / REGISTRATION
    if not path.exists():
        return None
    before, written = _read(path), cache.time_of(_key(path))
    created = datetime.fromisoformat(before["created"]).timestamp()
    is_late = cache.oldest < (created if written is None else written)
    first = datetime.fromtimestamp(cache.oldest, UTC) if is_late else None
    return {
        "created": before["created"],
        "changes": changes(before, lock),
        "sha256": checksum(path),
        "written here": written is not None,
        "measured before": first and first.isoformat(timespec="seconds"),
    }


def sentence(registered: Json) -> str:
    """Return what results have to say of their registration."""
    created = registered["created"]
    if registered["measured before"]:
        changed = (
            f" It has other settings: {registered['changes']}." if registered["changes"] else ""
        )
        return (
            f"Registered on {created}, after the results: the first was measured on "
            f"{registered['measured before']}.{changed}"
        )
    if registered["changes"]:
        return f"Not as registered on {created}: {registered['changes']}."
    if registered["written here"]:
        return f"As registered on {created} (sha256 {registered['sha256']})."
    return (
        f"As registered on {created}, by a file that was written elsewhere or edited; compare its "
        f"sha256 with the published one: {registered['sha256']}."
    )


def checksum(path: Path) -> str:
    """Return the sha256 of a registration, for its author to publish."""
    return hashlib.sha256(SafeFile(path).read(LARGEST)).hexdigest()


def _key(path: Path) -> str:
    return digest(["registration", checksum(path)])


def _read(path: Path) -> Json:
    try:
        before = SafeFile(path).json(LARGEST)
        datetime.fromisoformat(before["created"])
        _flat(before)
        return before
    except (ModelFileError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReportError(f"{str(path)!r} is no registration of a study: {error}") from error
