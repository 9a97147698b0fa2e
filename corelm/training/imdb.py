"""Fetch the IMDB reviews: download the original or take a local archive, and unpack it.

The Large Movie Review Dataset (Maas et al., ACL 2011). The folder of reviews exists whole or not
at all. A lock keeps two processes apart, and ends with the process that holds it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from corelm.errors import DataError, MissingDependencyError
from corelm.toolkit import home
from corelm.training.reviews_archive import CHUNK, Progress, unpack

PATIENCE = 30.0
"""Seconds without data after which a connection is given up."""
RETRIES = 3

WAY_OUT = "try again later, or use your own copy: corelm data imdb --from FILE"


@dataclass(frozen=True)
class Original:
    """A file on the network, and its checksum."""

    url: str
    sha256: str


IMDB = Original(
    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
)


def fetch_imdb(source: Path | None = None, progress: Progress | None = None) -> Path:
    """Return the folder of the IMDB reviews; fetch them if they are missing.

    Args:
        source: a local copy, a tar archive of any compression; None downloads the original.
        progress: called as progress(stage, done, total) in the stages `wait`, `download` and
            `unpack`; in bytes, the total None if it is unknown.

    Raises:
        DataError: no network, a server's error, a wrong checksum, an archive that is damaged,
            unsafe or of other data, or a folder that cannot be written.
        MissingDependencyError: pooch, which downloads, is not installed.
    """
    return _fetch(IMDB, home() / "data", source, progress or _silent)


def _silent(stage: str, done: int, total: int | None) -> None:
    pass


def _fetch(original: Original, folder: Path, source: Path | None, progress: Progress) -> Path:
    target = folder / "aclImdb"
    if target.is_dir():
        return target
    with _os_errors(folder), _alone(folder, progress):
        if target.is_dir():  # another process has fetched it meanwhile
            return target
        if source is not None:
            unpack(source, target, progress)
            return target
        with _downloaded(original, folder, progress) as archive:
            unpack(archive, target, progress)
    return target


@contextmanager
def _os_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = str(error.filename or folder)
        raise DataError(f"the reviews could not be fetched: {place!r}: {error.strerror}") from error


def lock_path(folder: Path) -> Path:
    """Return the file that a process locks while it fetches into a folder."""
    return folder / "aclImdb.lock"


@contextmanager
def _alone(folder: Path, progress: Progress) -> Iterator[None]:
    """Wait until no other process is fetching into this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_path(folder))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        progress("wait", 0, None)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _downloaded(original: Original, folder: Path, progress: Progress) -> Iterator[Path]:
    """Download the original into a folder that is removed afterwards; yield its path."""
    part = folder / (original.url.rpartition("/")[2] + ".part")
    if part.exists():  # a process that was killed left it
        shutil.rmtree(part)
    try:
        yield _download(original, part, progress)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _download(original: Original, folder: Path, progress: Progress) -> Path:
    try:
        import pooch
        from requests import HTTPError, RequestException
    except ImportError as error:
        raise MissingDependencyError(
            f"downloading needs pooch ({error}); install it with: pip install pooch, "
            "or use your own copy: corelm data imdb --from FILE"
        ) from error
    pooch.get_logger().setLevel("WARNING")  # the progress is shown already
    reviews = pooch.create(
        folder,
        base_url="",
        registry={"reviews": f"sha256:{original.sha256}"},
        urls={"reviews": original.url},
        retry_if_failed=RETRIES,
    )
    http = pooch.HTTPDownloader(progressbar=_Bar(progress), chunk_size=CHUNK, timeout=PATIENCE)
    try:
        return Path(reviews.fetch("reviews", downloader=http))
    except HTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        raise DataError(f"{original.url} answered with {status}; {WAY_OUT}") from error
    except RequestException as error:
        raise DataError(f"cannot download {original.url}: {_cause(error)}; {WAY_OUT}") from error
    except ValueError as error:
        raise DataError(
            f"the download of {original.url} had a wrong checksum and was removed; {WAY_OUT}"
        ) from error


def _cause(error: BaseException) -> BaseException:
    """Return the innermost error, which has the reason of the system."""
    while error.__context__ is not None:
        error = error.__context__
    return error


class _Bar:
    """Passes pooch's progress on; pooch sets `total`, and calls the methods."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._done = progress, 0
        self.total = 0

    def update(self, count: int) -> None:
        self._done = min(self._done + count, self.total)
        self._progress("download", self._done, self.total or None)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        self.reset()  # for the next attempt
