import bz2
import gzip
import hashlib
import io
import itertools
import lzma
import re
import socket
import sys
import tarfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from corelm_train import imdb
from corelm_train.imdb import IMDB, Original, fetch_imdb

from corelm.errors import DataError, MissingDependencyError

REVIEWS = {
    "aclImdb/train/pos/0_9.txt": b"good",
    "aclImdb/train/neg/0_1.txt": b"bad",
    "aclImdb/train/unsup/0_0.txt": b"so so",
    "aclImdb/test/pos/0_10.txt": b"very good",
    "aclImdb/test/neg/0_2.txt": b"very bad",
}
OTHERS = {"aclImdb/README": b"about", "aclImdb/train/urls_pos.txt": b"links", "./.DS_Store": b"x"}
PACK = {
    "tar": lambda data: data,
    "tar.gz": gzip.compress,
    "tar.xz": lzma.compress,
    "tar.bz2": bz2.compress,
}


def member(name, content=b"", **fields):
    """A header and its content; a field such as size may say something else than the truth."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


def tar(files, *more):
    return b"".join([*itertools.starmap(member, files.items()), *more, bytes(1024)])


def files_below(folder):
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.suffix != ".lock"
    }


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def local(tmp_path):
    """Write an archive where the person has it."""

    def write(data, name="reviews.tar"):
        file = tmp_path / "downloads" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)
        return file

    return write


def refusal(home, source):
    """The message that refuses an archive, of which then nothing is left anywhere."""
    before = files_below(home.parent)
    with pytest.raises(DataError) as caught:
        fetch_imdb(source)
    assert files_below(home.parent) == before
    assert [file.name for file in (home / "data").iterdir()] == ["aclImdb.lock"]
    return str(caught.value)


# A local archive


@pytest.mark.parametrize("kind", PACK)
def test_the_reviews_come_from_a_tar_of_any_compression(kind, home, local):
    source = local(PACK[kind](tar({**OTHERS, **REVIEWS})), f"reviews.{kind}")
    folder = fetch_imdb(source)
    assert folder == home / "data" / "aclImdb"
    assert files_below(home / "data") == REVIEWS
    assert source.exists()


def test_the_compression_is_detected_by_content_and_names_may_begin_with_a_dot(home, local):
    dotted = {"./" + name: content for name, content in REVIEWS.items()}
    assert files_below(fetch_imdb(local(gzip.compress(tar(dotted)), "download")).parent) == REVIEWS


def test_python_s_own_tar_files_with_their_folders_are_read(home, local, tmp_path):
    fetch_imdb(local(tar(REVIEWS)))
    with tarfile.open(tmp_path / "again.tar.xz", "w:xz", format=tarfile.PAX_FORMAT) as again:
        again.add(home / "data" / "aclImdb", "aclImdb")
    (home / "data").rename(home / "before")
    assert files_below(fetch_imdb(tmp_path / "again.tar.xz").parent) == REVIEWS


def test_reviews_that_are_there_are_not_fetched_again(home, local):
    fetch_imdb(local(tar(REVIEWS)))
    assert fetch_imdb(Path("there is no such file")) == home / "data" / "aclImdb"


def test_the_remains_of_an_interrupted_unpacking_are_removed(home, local):
    left = home / "data" / "aclImdb.part" / "aclImdb" / "train" / "pos" / "1_9.txt"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a rev")
    fetch_imdb(local(tar(REVIEWS)))
    assert files_below(home / "data") == REVIEWS


def test_progress_is_reported_in_bytes_of_the_archive(home, local):
    told = []
    source = local(tar(REVIEWS))
    fetch_imdb(source, lambda *progress: told.append(progress))
    size = source.stat().st_size
    assert {(stage, total) for stage, _, total in told} == {("unpack", size)}
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert told[-1] == ("unpack", size, size)


def test_an_interruption_leaves_nothing_half_done(home, local):
    def interrupt(stage, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_imdb(local(tar(REVIEWS)), interrupt)
    assert files_below(home) == {}


# Refused archives

HOSTILE = {
    "up": (member("../aclImdb/train/pos/1_9.txt", b"x"), "leads out"),
    "up inside": (member("aclImdb/train/pos/../../../../x.txt", b"x"), "leads out"),
    "up for windows": (member("aclImdb\\..\\..\\x.txt", b"x"), "leads out"),
    "absolute": (member("/tmp/corelm-was-here.txt", b"x"), "absolute path"),
    "drive": (member("C:\\x.txt", b"x"), "absolute path"),
    "network drive": (member("\\\\host\\x.txt", b"x"), "absolute path"),
    "symbolic link": (
        member("aclImdb/train/pos/1_9.txt", type=tarfile.SYMTYPE, linkname="../../../../x"),
        "is a link",
    ),
    "link as a folder": (
        member("aclImdb/train/pos", type=tarfile.SYMTYPE, linkname="/tmp"),
        "is a link",
    ),
    "hard link": (
        member("aclImdb/train/pos/1_9.txt", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
        "is a link",
    ),
    "device": (member("aclImdb/train/pos/1_9.txt", type=tarfile.CHRTYPE), "a device"),
    "block device": (member("aclImdb/zero", type=tarfile.BLKTYPE), "a device"),
    "fifo": (member("aclImdb/train/pos/1_9.txt", type=tarfile.FIFOTYPE), "or the like"),
    "twice": (member("aclImdb/train/pos/0_9.txt", b"again"), "twice"),
    "zero bytes": (member("aclImdb/train/pos/1_9.txt", b"good\0film"), "1_9.txt' is not a text"),
    "not UTF-8": (member("aclImdb/test/neg/1_2.txt", b"caf\xe9"), "1_2.txt' is not a text"),
    "large file": (member("aclImdb/train/pos/1_9.txt", size=16 * 2**20 + 1), "larger than 16 MiB"),
    "ten terabytes": (member("aclImdb/train/big.feat", size=10**13), "more than 1024 MiB"),
    "less than nothing": (
        member("aclImdb/train/x.feat", size=-4096),
        "lead backwards|damaged",
    ),  # newer Pythons notice it themselves
    "a long name": (member("x", type=tarfile.GNUTYPE_LONGNAME, size=10**12), "header.* claims"),
    "a long attribute": (member("x", type=tarfile.XHDTYPE, size=2**30), "header.* claims"),
    "a negative attribute": (
        member("x", type=tarfile.XHDTYPE, size=-512),
        "header.* claims|damaged",
    ),
    "no tar header": (b"\x01" * 512, "cut off or damaged"),
}


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
@pytest.mark.parametrize("name", HOSTILE)
def test_an_unsafe_archive_is_refused_as_a_whole(name, kind, home, local):
    bad, reason = HOSTILE[name]
    source = local(PACK[kind](tar(REVIEWS, bad)))
    message = refusal(home, source)
    assert message.startswith(f"the archive {str(source)!r} was refused: ")
    assert re.search(reason, message)


def test_headers_of_headers_of_headers_are_refused(home, local):
    nested = member("x", b"name\0", type=tarfile.GNUTYPE_LONGNAME) * 20_000
    assert "damaged" in refusal(home, local(tar(REVIEWS, nested)))


def test_bounds_hold_for_members_and_for_all_that_is_unpacked(home, local, monkeypatch):
    source = local(gzip.compress(tar({**REVIEWS, "aclImdb/notes": bytes(300_000)})))
    monkeypatch.setattr(imdb, "MOST_MEMBERS", 5)
    assert "more than 5 members" in refusal(home, source)
    monkeypatch.setattr(imdb, "MOST_MEMBERS", 6)
    monkeypatch.setattr(imdb, "LARGEST_UNPACKED", 2**18)
    assert "unpacks to more than 0 MiB" in refusal(home, source)
    monkeypatch.setattr(imdb, "LARGEST_UNPACKED", 2**19)
    assert fetch_imdb(source).is_dir()


@pytest.mark.parametrize("kind", PACK)
def test_a_cut_off_archive_is_refused_wherever_it_was_cut(kind, home, local):
    whole = PACK[kind](tar(REVIEWS))
    cuts = range(0, len(whole) - 1024, 256) if kind == "tar" else range(0, len(whole), 7)
    for cut in cuts:
        refusal(home, local(whole[:cut]))


@pytest.mark.parametrize("kind", ["tar.gz", "tar.xz", "tar.bz2"])
def test_a_flipped_bit_is_noticed_by_the_checksum_of_the_compression(kind, home, local):
    whole = bytearray(PACK[kind](tar(REVIEWS)))
    whole[len(whole) // 2] ^= 1
    refusal(home, local(bytes(whole)))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "isn't a tar archive"),
        (b"just a text", "isn't a tar archive"),
        (b"PK\x03\x04" + bytes(2000), "isn't a tar archive"),
        (tar({"poems/1.txt": b"roses"}), "no reviews at aclImdb/train/pos"),
        (tar(dict(list(REVIEWS.items())[:4])), "no reviews at aclImdb/test/neg"),
        (bytes(10240), "no reviews at aclImdb/train/pos"),
    ],
)
def test_something_else_than_the_reviews_is_refused_with_the_reason(data, reason, home, local):
    assert reason in refusal(home, local(data))


def test_a_missing_file_and_a_folder_are_named(home, tmp_path):
    missing = tmp_path / "nowhere.tar"
    assert f"{str(missing)!r}: No such file" in refusal(home, missing)
    assert "it is not a file" in refusal(home, tmp_path)


def test_a_home_that_cannot_be_written_is_named(tmp_path, monkeypatch, local):
    (tmp_path / "home").write_text("a file")
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    with pytest.raises(DataError, match=r"the reviews could not be fetched: .*home"):
        fetch_imdb(local(tar(REVIEWS)))


# The download


class Server(ThreadingHTTPServer):
    """A server on this machine that serves a file as configured."""

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Answer)
        self.content = content
        self.most = [len(content)]  # what each answer gives before it is cut off
        self.status = 200
        self.asked = 0
        self.was_asked = threading.Event()

    @property
    def original(self):
        return Original(
            f"http://127.0.0.1:{self.server_port}/data/aclImdb_v1.tar.gz",
            hashlib.sha256(self.content).hexdigest(),
        )


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked += 1
        server.was_asked.set()
        if server.status != 200:
            self.send_error(server.status)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(server.content)))
        self.end_headers()
        most = server.most.pop(0) if len(server.most) > 1 else server.most[0]
        self.wfile.write(server.content[:most])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    pytest.importorskip("pooch")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    with Server(gzip.compress(tar(REVIEWS))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(original, folder, progress=lambda *_: None):
    return imdb._fetch(original, folder, None, progress)


def test_a_download_is_checked_unpacked_and_its_archive_removed(server, tmp_path):
    told = []
    folder = fetch(server.original, tmp_path, lambda *progress: told.append(progress))
    assert folder == tmp_path / "aclImdb"
    assert files_below(tmp_path) == REVIEWS
    size = len(server.content)
    assert list(dict.fromkeys(stage for stage, _, _ in told)) == ["download", "unpack"]
    assert ("download", size, size) in told
    assert server.asked == 1


def test_a_download_that_is_cut_off_is_tried_again(server, tmp_path):
    server.most = [100, 50, 10_000]
    told = []
    fetch(server.original, tmp_path, lambda *progress: told.append(progress))
    assert server.asked == 3
    assert files_below(tmp_path) == REVIEWS
    assert all(done <= total for _, done, total in told)


@pytest.mark.parametrize(
    ("most", "last", "message"),
    [
        (100, None, r"cannot download http.*100 bytes read.*--from FILE"),
        (10_000, b"!", r"wrong checksum and was removed; .*--from FILE"),
    ],
)
def test_a_failed_download_leaves_nothing_and_the_next_call_starts_over(
    server, tmp_path, most, last, message
):
    original, right = server.original, server.content
    server.most, server.content = [most], right[:-1] + (last or right[-1:])
    with pytest.raises(DataError, match=message):
        fetch(original, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["aclImdb.lock"]
    server.most, server.content = [10_000], right
    assert files_below(fetch(original, tmp_path).parent) == REVIEWS


def test_what_a_killed_download_left_is_removed(server, tmp_path):
    left = tmp_path / "aclImdb.part" / "tmp123"
    left.parent.mkdir()
    left.write_bytes(b"half an arch")
    fetch(server.original, tmp_path)
    assert files_below(tmp_path) == REVIEWS


def test_without_pooch_a_local_archive_is_enough(home, local, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingDependencyError, match=r"pip install pooch, or .* --from FILE"):
        fetch_imdb()
    assert files_below(fetch_imdb(local(tar(REVIEWS))).parent) == REVIEWS


@pytest.mark.parametrize("status", [404, 416, 500, 503])
def test_a_server_s_error_is_named_with_the_way_out(status, server, tmp_path):
    server.status = status
    with pytest.raises(DataError, match=rf"answered with {status}; .*corelm data imdb --from FILE"):
        fetch(server.original, tmp_path)


def test_no_network_is_named_with_the_way_out(tmp_path, monkeypatch):
    pytest.importorskip("pooch")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    with socket.socket() as taken:  # held, so that nobody else answers, but not listened to
        taken.bind(("127.0.0.1", 0))
        original = replace(IMDB, url=f"http://127.0.0.1:{taken.getsockname()[1]}/data")
        with pytest.raises(DataError, match=r"cannot download http.*refused.*--from FILE"):
            fetch(original, tmp_path)


def test_two_at_once_fetch_once_and_one_waits(server, tmp_path):
    """The first holds on in the middle of its download until the second has met the lock."""
    waiting, told, results = threading.Event(), [], []

    def first(stage, done, total):
        assert waiting.wait(600)

    def second(stage, done, total):
        told.append(stage)
        waiting.set()

    def start(progress):
        thread = threading.Thread(
            target=lambda: results.append(fetch(server.original, tmp_path, progress))
        )
        thread.start()
        return thread

    one = start(first)
    assert server.was_asked.wait(600)
    two = start(second)
    one.join()
    two.join()
    assert told == ["wait"]
    assert server.asked == 1
    assert results == [tmp_path / "aclImdb"] * 2
    assert files_below(tmp_path) == REVIEWS


def test_a_stream_of_zeros_is_bounded_by_what_it_claims(home, local):
    """A megabyte of compressed zeros stands for a gigabyte; not a byte of it is written."""
    zeros = io.BytesIO()
    with gzip.GzipFile(fileobj=zeros, mode="wb", compresslevel=1) as packed:
        packed.write(tar(REVIEWS)[:-1024])
        packed.write(member("aclImdb/train/pos/1_9.txt", size=2**30))
        packed.write(bytes(20 * 2**20))
    assert "larger than 16 MiB" in refusal(home, local(zeros.getvalue()))
