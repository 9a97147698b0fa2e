"""Fetch the IMDB reviews: download the original or take a local archive, and unpack it safely.

The Large Movie Review Dataset (Maas et al., ACL 2011). The folder of reviews exists whole or not
at all. A lock excludes other processes, and ends with the process that holds it. An archive isn't
trusted: it is only read forwards, within limits, and only reviews are written.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from corelm.errors import DataError, MissingDependencyError
from corelm.runs import machine

PATIENCE = 30.0
"""The timeout of a connection without data, in seconds."""
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
    return _fetch(IMDB, machine.home() / "data", source, progress or (lambda *_: None))


def _fetch(original: Original, folder: Path, source: Path | None, progress: Progress) -> Path:
    target = folder / "aclImdb"
    if target.is_dir():
        return target
    try:
        with _alone(folder, progress):
            if target.is_dir():  # another process has fetched it in the meantime
                return target
            with _unfinished(folder / "aclImdb.part") as part:
                unpack(source or _download(original, part, progress), part, progress)
                (part / "aclImdb").rename(target)
        return target
    except OSError as error:
        place = str(error.filename or folder)
        raise DataError(f"the reviews could not be fetched: {place!r}: {error.strerror}") from error


@contextmanager
def _alone(folder: Path, progress: Progress) -> Iterator[None]:
    """Wait until no other process is fetching into this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "aclImdb.lock")
    try:
        acquired = lock.acquire(blocking=False)
    except Timeout:
        progress("wait", 0, None)
        acquired = lock.acquire()
    with acquired:
        yield


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """Make a folder, empty even if a killed process left one; remove it afterwards."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _download(original: Original, folder: Path, progress: Progress) -> Path:
    try:
        import pooch
        from requests import HTTPError, RequestException
    except ImportError as error:
        raise MissingDependencyError(
            f"downloading needs pooch ({error}); install it with: pip install pooch, "
            "or use your own copy: corelm data imdb --from FILE"
        ) from error
    pooch.get_logger().setLevel("WARNING")  # the progress is already shown
    reviews = pooch.create(
        folder,
        base_url="",
        registry={"reviews": f"sha256:{original.sha256}"},
        urls={"reviews": original.url},
        retry_if_failed=RETRIES,
    )
    http = pooch.HTTPDownloader(
        progressbar=_DownloadProgress(progress), chunk_size=CHUNK, timeout=PATIENCE
    )
    try:
        return Path(reviews.fetch("reviews", downloader=http))
    except HTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        raise DataError(f"{original.url} answered with {status}; {WAY_OUT}") from error
    except RequestException as error:
        cause: BaseException = error  # the innermost one has the operating system's reason
        while cause.__context__ is not None:
            cause = cause.__context__
        raise DataError(f"cannot download {original.url}: {cause}; {WAY_OUT}") from error
    except ValueError as error:
        raise DataError(
            f"the download of {original.url} had a wrong checksum and was removed; {WAY_OUT}"
        ) from error


class _DownloadProgress:
    """A progress bar for pooch, which sets `total` and calls the methods; forwards progress."""

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


Progress = Callable[[str, int, int | None], None]
"""Called as progress(stage, bytes done, bytes in total or None)."""

MIB = 2**20
CHUNK = 64 * 1024

LARGEST_REVIEW = 16 * MIB
LARGEST_READ = 64 * 1024
"""The most bytes that tarfile may request at once; a header that claims more is refused unread."""
LARGEST_UNPACKED = 1024 * MIB
MOST_MEMBERS = 120_000
"""The largest number of files in the archive: the original has 100,000 reviews and a few others,
and each takes about 0.1 ms."""

REVIEW = re.compile(r"(?:\./)?(aclImdb/(?:train|test)/(?:pos|neg|unsup))/([\w-]{1,100}\.txt)", re.A)
NEEDED = ("train/pos", "train/neg", "test/pos", "test/neg")
OPENERS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"\xfd7zXZ\0": lzma.LZMAFile,
    b"BZh": bz2.BZ2File,
}
DAMAGE = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError, RecursionError)
"""The exceptions of tarfile and the decompressors for a file that isn't an archive."""


def unpack(archive: Path, folder: Path, progress: Progress) -> None:
    """Unpack the reviews of an archive.

    Args:
        archive: a tar file of any compression.
        folder: where to create the folder `aclImdb`.
        progress: called as progress("unpack", done, total), in bytes of the archive.

    Raises:
        DataError: an archive that is damaged, unsafe or of other data.
        OSError: a folder that cannot be written.
    """
    try:
        _extract(archive, folder, progress)
    except DataError as error:
        raise DataError(f"the archive {str(archive)!r} was refused: {error}") from error


def _extract(archive: Path, folder: Path, progress: Progress) -> None:
    if not archive.is_file() and archive.exists():
        raise DataError("it is not a file; give a tar archive")
    total = archive.stat().st_size
    if total > LARGEST_UNPACKED:  # before the slow work
        raise DataError(f"it has more than {LARGEST_UNPACKED // MIB} MiB")
    try:
        with archive.open("rb") as packed:
            reader = _Forward(packed)
            made = set[str]()
            with tarfile.open(fileobj=reader, mode="r:") as tar:  # type: ignore[call-overload]
                for member in _members(tar):
                    _write(tar, member, folder, made)
                    progress("unpack", packed.tell(), total)
            reader.finish()
            progress("unpack", total, total)
    except DAMAGE as error:
        raise DataError(f"it isn't a tar archive, or is a damaged one ({error})") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise DataError(f"it is damaged ({error})") from error  # raised by gzip and bz2
    for part in NEEDED:
        if not (folder / "aclImdb" / part).is_dir():
            raise DataError(f"it has no reviews at aclImdb/{part}, so it is another data set")


class _Forward:
    """A file object on the decompressed archive, which reads only forwards and within limits."""

    def __init__(self, packed: IO[bytes]) -> None:
        magic = packed.read(6)
        packed.seek(0)
        openers = [opener for start, opener in OPENERS.items() if magic.startswith(start)]
        self._file = openers[0](packed) if openers else packed
        self._position = 0
        self._last = b""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        if not 0 <= size <= LARGEST_READ:
            raise DataError(f"one of its headers claims {size} bytes")
        self._bound(self._position + size)
        self._last = self._file.read(size)
        self._position += len(self._last)
        return self._last

    def seek(self, position: int) -> None:
        if position < self._position:
            raise DataError("its headers lead backwards")
        self._bound(position)
        while self._position < position and self.read(min(CHUNK, position - self._position)):
            pass

    def finish(self) -> None:
        """Read the rest to verify the checksum; raise DataError if the archive is cut off."""
        if self._last != bytes(tarfile.BLOCKSIZE):
            raise DataError("it is cut off or damaged")
        while self.read(CHUNK):
            pass

    def _bound(self, position: int) -> None:
        if position > LARGEST_UNPACKED:
            raise DataError(f"it unpacks to more than {LARGEST_UNPACKED // MIB} MiB")


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    count = 0
    while (member := tar.next()) is not None:
        count += 1
        if count > MOST_MEMBERS:
            raise DataError(f"it has more than {MOST_MEMBERS} members")
        yield member
        tar.members = []  # type: ignore[attr-defined]  # tarfile would keep them all


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, made: set[str]) -> None:
    """Write a member if it is a review; raise DataError for one that shows a malicious archive.

    Args:
        tar: the archive.
        member: the member.
        folder: where the archive's folders are made.
        made: those made so far.
    """
    _refuse_unsafe(member)
    review = REVIEW.fullmatch(member.name)
    if review is None or not member.isreg():
        return
    if member.size > LARGEST_REVIEW:
        raise DataError(f"{member.name!r} is larger than {LARGEST_REVIEW // MIB} MiB")
    if review[1] not in made:  # a system call for each member would take a while
        (folder / review[1]).mkdir(parents=True, exist_ok=True)
        made.add(review[1])
    packed = tar.extractfile(member)
    assert packed is not None, "tarfile gives the content of every regular file"
    with packed:
        content = packed.read()
    try:  # every report on the reviews would fail
        binary = "\0" in content.decode()
    except UnicodeDecodeError:
        binary = True
    if binary:
        raise DataError(f"{member.name!r} is not a text in UTF-8")
    try:
        with open(os.path.join(folder, review[1], review[2]), "xb") as written:
            written.write(content)
    except FileExistsError as error:
        raise DataError(f"it holds {member.name!r} twice") from error


# Not `tarfile.data_filter`: it strips the slash of an absolute path, lets `a/../b` and inner links
# pass, and takes 43 us for each of 100,000 members where this takes 1.5.
def _refuse_unsafe(member: tarfile.TarInfo) -> None:
    name = member.name
    if name.startswith(("/", "\\")) or re.match("[A-Za-z]:", name):
        raise DataError(f"{name[:80]!r} is an absolute path")
    if ".." in re.split(r"[/\\]", name):
        raise DataError(f"{name[:80]!r} leads out of the archive")
    if member.issparse() or not (member.isreg() or member.isdir()):
        raise DataError(f"{name[:80]!r} is a link, a device or the like")
