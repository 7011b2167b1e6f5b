"""The cache: what it hands out is proven, what it takes in is whole, and W&B's SDK knows its way in it."""

from __future__ import annotations

import base64
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from registry_client.cache import Cache, reflink
from registry_client.digest import Promise, digester
from registry_client.download import download
from registry_client.errors import FetchError
from registry_client.manifest import ManifestEntry
from registry_client.version import DigestAlgorithm
from tests.fakes import FakeRegistry
from tests.stand_ins.test_wandb_sdk import FILES, in_sdk
from tests.stand_ins.wandb import WandbStandIn

MD5, XXH128 = DigestAlgorithm.MD5, DigestAlgorithm.XXH128
HELLO = b"hello"
HELLO_PLACE = "artifacts/obj/md5/5d/41402abc4b2a76b9719d911017c592"
NAME = "acme/training/nature"

DOWNLOAD = """
import json, pathlib, sys
import wandb

root = pathlib.Path(wandb.Api().artifact(json.load(sys.stdin)).download(sys.argv[1]))
paths = [path for path in root.rglob("*") if path.is_file()]
print(json.dumps({str(path.relative_to(root)): path.read_bytes().hex() for path in paths}))
"""


def entry(
    content: bytes = HELLO,
    algorithm: DigestAlgorithm = MD5,
    size: int | None = None,
    digest: str | None = None,
) -> ManifestEntry:
    """What a manifest says of a file with this content."""
    hashing = digester(algorithm)
    hashing.update(content)
    told = base64.b64encode(hashing.digest()).decode() if digest is None else digest
    return ManifestEntry("a.txt", told, len(content) if size is None else size, algorithm, None, None)


def pretended(source: int, target: int) -> bool:
    """A reflink on a disk that has none: the same bytes, though not the same blocks."""
    os.write(target, os.pread(source, 1 << 20, 0))
    os.lseek(target, 0, os.SEEK_SET)
    return True


def copied(source: int, target: int) -> bool:
    """No reflink."""
    del source, target
    return False


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """A new name for a file."""
    (tmp_path / "job").mkdir()
    return tmp_path / "job" / "taken"


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    """A proven file."""
    (tmp_path / "hello").write_bytes(HELLO)
    return tmp_path / "hello"


@pytest.fixture(params=["copies", "reflinks", "hard links"])
def cache(directory: Path, request: pytest.FixtureRequest) -> Cache:
    """Each way to hand out a file."""
    if request.param == "hard links":
        return Cache(directory, links="hard", clone=copied)
    return Cache(directory, clone=pretended if request.param == "reflinks" else copied)


def put(directory: Path, content: bytes, place: str = HELLO_PLACE) -> Path:
    """A file that somebody cached."""
    path = directory / place
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def left(directory: Path) -> list[str]:
    """The names of all that is no directory."""
    return sorted(
        path.relative_to(directory).as_posix() for path in directory.rglob("*") if not path.is_dir()
    )


def test_what_was_added_can_be_taken(cache: Cache, directory: Path, hello: Path, new: Path) -> None:
    """
    It lies where the SDK would look for it, nothing else is left there, and the bytes are told.
    """
    told: list[int] = []

    cache.add(entry(), hello)

    assert left(directory) == [HELLO_PLACE]
    assert cache.take(entry(), new, advance=told.append)
    assert new.read_bytes() == hello.read_bytes() == HELLO
    assert sum(told) == len(HELLO)


@pytest.mark.parametrize("content", [HELLO, b"", bytes(3_000_000)], ids=["small", "empty", "several chunks"])
@pytest.mark.parametrize("algorithm", list(DigestAlgorithm), ids=lambda each: each.name)
def test_each_algorithm_has_its_own_folder(
    directory: Path, tmp_path: Path, new: Path, content: bytes, algorithm: DigestAlgorithm
) -> None:
    """
    A digest of one algorithm is never looked up among those of the other.
    """
    (tmp_path / "file").write_bytes(content)
    cache, known = Cache(directory), entry(content, algorithm)

    cache.add(known, tmp_path / "file")

    raw = base64.b64decode(known.digest).hex()
    assert left(directory) == [f"artifacts/obj/{algorithm.name.lower()}/{raw[:2]}/{raw[2:]}"]
    assert cache.take(known, new)
    assert new.read_bytes() == content
    other = XXH128 if algorithm is MD5 else MD5
    assert not cache.take(entry(content, other, digest=known.digest), new.with_name("other"))


def test_what_is_not_there_is_not_taken(cache: Cache, directory: Path, new: Path) -> None:
    """
    Looking makes no directory.
    """
    assert not cache.take(entry(), new)
    assert not directory.exists()
    assert not new.exists()


@pytest.mark.parametrize(
    "content", [b"jello", b"hell", b"hello!", b""], ids=["flipped", "short", "long", "empty"]
)
def test_a_damaged_file_is_removed(cache: Cache, directory: Path, new: Path, content: bytes) -> None:
    """
    Nothing in the cache is trusted: the same length is not enough, and the damage is gone for others.
    """
    put(directory, content)

    assert not cache.take(entry(), new)
    assert left(directory) == []
    assert not new.exists()


def test_a_copy_is_another_file(directory: Path, hello: Path, new: Path) -> None:
    """
    A job that edits its model in place changes no other job's.
    """
    cache = Cache(directory)
    cache.add(entry(), hello)
    assert cache.take(entry(), new)

    new.write_bytes(b"jello")

    assert (directory / HELLO_PLACE).read_bytes() == hello.read_bytes() == HELLO


def test_a_hard_link_is_the_same_file(directory: Path, hello: Path, new: Path) -> None:
    """
    For those who chose it: no byte is copied, on the way in or out.
    """
    cache = Cache(directory, links="hard", clone=copied)
    cache.add(entry(), hello)
    assert cache.take(entry(), new)

    assert new.samefile(directory / HELLO_PLACE)
    assert new.samefile(hello)


def test_no_hard_link_to_another_file_is_handed_out(
    directory: Path, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    When the cached file is replaced between the look at it and the link, the link is not what was proven.
    """
    put(directory, HELLO)
    (tmp_path / "other").write_bytes(b"jello")
    link = os.link
    monkeypatch.setattr(os, "link", lambda _source, target, **more: link(tmp_path / "other", target, **more))

    assert not Cache(directory, links="hard").take(entry(), new)
    assert not new.exists()


def test_a_copy_is_made_where_no_link_can_be(
    directory: Path, hello: Path, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A cache on another disk serves, too.
    """

    def refused(*_: object, **__: object) -> None:
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refused)
    cache = Cache(directory, links="hard")
    cache.add(entry(), hello)

    assert cache.take(entry(), new)
    assert new.stat().st_nlink == 1


@pytest.mark.parametrize("kind", ["file", "link"])
def test_nothing_is_overwritten(cache: Cache, hello: Path, new: Path, kind: str) -> None:
    """
    A name that is taken, even by a link to nowhere, is left as it is.
    """
    cache.add(entry(), hello)
    if kind == "file":
        new.write_bytes(b"mine")
    else:
        new.symlink_to(new.with_name("nowhere"))

    assert not cache.take(entry(), new)
    assert new.is_symlink() or new.read_bytes() == b"mine"
    assert not new.with_name("nowhere").exists()


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_what_is_no_plain_file_is_passed_over(
    cache: Cache, directory: Path, new: Path, hello: Path, kind: str
) -> None:
    """
    It is not followed, not waited for, not removed and not replaced.
    """
    place = directory / HELLO_PLACE
    place.parent.mkdir(parents=True)
    if kind == "link":
        place.symlink_to(hello)
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()
    before = place.lstat()

    assert not cache.take(entry(), new)
    cache.add(entry(), hello)

    assert os.path.samestat(place.lstat(), before)
    assert not new.exists()


@pytest.mark.parametrize(
    "digest", ["", "an-etag", "../../../../etc/passwd", "aGVsbG8=", "XUFA!KrxLKna5cZ2REBfFkg=="]
)
def test_a_digest_that_is_none_leads_nowhere(
    cache: Cache, directory: Path, hello: Path, new: Path, digest: str
) -> None:
    """
    An ETag of a reference becomes no path.
    """
    cache.add(entry(digest=digest), hello)

    assert not cache.take(entry(digest=digest), new)
    assert not directory.exists()


def test_an_interrupted_taking_leaves_nothing(cache: Cache, directory: Path, hello: Path, new: Path) -> None:
    """
    What the one who is told raises comes through; the cached file stays.
    """

    def stopped(_size: int) -> None:
        raise KeyboardInterrupt

    cache.add(entry(), hello)

    with pytest.raises(KeyboardInterrupt):
        cache.take(entry(), new, advance=stopped)

    assert not new.exists()
    assert left(directory) == [HELLO_PLACE]


def test_a_good_file_that_came_meanwhile_stays(directory: Path, hello: Path, new: Path) -> None:
    """
    Another job may have replaced a damaged file while this one read it.
    """
    place = put(directory, b"jello")

    def replaced(_size: int) -> None:
        shutil.copy(hello, place.with_name("whole"))
        place.with_name("whole").replace(place)

    assert not Cache(directory).take(entry(), new, advance=replaced)
    assert place.read_bytes() == HELLO


class TestAdding:
    """It is done when it can be done, and never in the way."""

    def test_a_file_that_is_there_is_left(self, cache: Cache, directory: Path, hello: Path) -> None:
        """
        Another job was quicker.
        """
        place = put(directory, b"other")

        cache.add(entry(), hello)

        assert place.read_bytes() == b"other"

    def test_a_directory_that_cannot_be_made_is_no_error(
        self, cache: Cache, directory: Path, hello: Path
    ) -> None:
        """
        The download goes on without.
        """
        directory.write_bytes(b"")

        cache.add(entry(), hello)

        assert directory.read_bytes() == b""

    @pytest.mark.parametrize(
        ("spare", "clone", "kept"), [(4, copied, False), (4, pretended, True), (5, copied, True)]
    )
    def test_a_copy_leaves_room_on_the_disk(
        self, directory: Path, hello: Path, spare: int, clone: Callable[[int, int], bool], *, kept: bool
    ) -> None:
        """
        For the files that are still to come, and for others; a reflink takes none.
        """
        shared = Cache(directory, clone=clone, free=lambda _path: 256 * 1024 * 1024 + 1000 + spare)

        shared.add(entry(), hello, keep_free=1000)

        assert left(directory) == ([HELLO_PLACE] if kept else [])

    def test_a_file_larger_than_the_limit_stays_out(self, directory: Path, hello: Path) -> None:
        """
        It would only push out all others.
        """
        Cache(directory, limit=4).add(entry(), hello)
        assert left(directory) == []
        Cache(directory, limit=5).add(entry(), hello)
        assert left(directory) == [HELLO_PLACE]

    def test_half_a_file_is_not_kept(self, cache: Cache, directory: Path, hello: Path) -> None:
        """
        One of another size than the entry's was not proven.
        """
        cache.add(entry(size=6), hello)

        assert left(directory) == []

    def test_others_may_read_it(self, directory: Path, hello: Path) -> None:
        """
        As the umask says, like any new file: a job of another user shares the cache.
        """
        before = os.umask(0o022)
        try:
            Cache(directory).add(entry(), hello)
        finally:
            os.umask(before)
        assert stat.S_IMODE((directory / HELLO_PLACE).stat().st_mode) == 0o644

    def test_jobs_side_by_side_see_whole_files_only(self, directory: Path, tmp_path: Path) -> None:
        """
        Several add and take the same at once: each taking is all or nothing.
        """
        content = bytes(range(256)) * 4096
        (tmp_path / "file").write_bytes(content)
        known, found = entry(content), []

        def job(number: int) -> None:
            cache = Cache(directory)
            for turn in range(10):
                name = tmp_path / f"{number}-{turn}"
                if cache.take(known, name):
                    found.append(name.read_bytes() == content)
                cache.add(known, tmp_path / "file")

        threads = [threading.Thread(target=job, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(found) >= 36
        assert all(found)


class TestTrim:
    """The limit is kept, oldest use first."""

    @staticmethod
    def _filled(directory: Path, now: Callable[[], float] = lambda: 9e9) -> Cache:
        for name in "abc":
            file = put(directory, name.encode() * 10, f"artifacts/obj/md5/{name * 2}/{name * 30}")
            os.utime(file, (ord(name), ord(name)))
        return Cache(directory, limit=20, now=now)

    def test_what_was_used_longest_ago_goes_first(self, directory: Path) -> None:
        """
        Until what is left keeps the limit.
        """
        self._filled(directory).trim()

        assert [name[-1] for name in left(directory)] == ["k", "b", "c"]  # handoff.lock comes first.

    def test_a_use_counts(self, directory: Path, hello: Path, new: Path) -> None:
        """
        It is noted as access time, which the SDK's cleanup goes by; the time of the last change stays.
        """
        cache = Cache(directory, limit=5, now=lambda: 5000.0)
        cache.add(entry(), hello)
        place = directory / HELLO_PLACE
        os.utime(place, (100, 100))

        assert cache.take(entry(), new)

        assert (place.stat().st_atime, place.stat().st_mtime) == (5000.0, 100.0)
        other = put(directory, b"x", "artifacts/obj/xxh128/aa/bb")
        os.utime(other, (4999, 4999))
        cache.trim()
        assert place.exists()
        assert not other.exists()

    @pytest.mark.parametrize("limit", [None, 30])
    def test_nothing_goes_that_need_not(self, directory: Path, limit: int | None) -> None:
        """
        Without a limit, or exactly at it.
        """
        self._filled(directory)

        Cache(directory, limit=limit).trim()

        assert len(left(directory)) == 4

    def test_one_at_a_time(self, directory: Path) -> None:
        """
        While another process trims, this one does not wait for it.
        """
        cache = self._filled(directory)
        lock = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 1); print(flush=True); input()"
        with subprocess.Popen(
            [sys.executable, "-c", lock, str(directory / "artifacts" / "handoff.lock")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as other:
            assert other.stdout is not None
            other.stdout.readline()
            cache.trim()
            assert len(left(directory)) == 4
            other.communicate(b"\n")
        cache.trim()
        assert len(left(directory)) == 3

    def test_temporary_files_of_the_killed_are_swept(self, directory: Path) -> None:
        """
        After a day, and no others': the SDK has its own there.
        """
        for name, age in [("handoff-old", 90_000), ("handoff-new", 80_000), ("tmpsdk", 90_000)]:
            file = directory / "artifacts" / "tmp" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"x")
            os.utime(file, (1e6 - age, 1e6 - age))

        Cache(directory, now=lambda: 1e6).trim()

        names = [name.rpartition("/")[2] for name in left(directory)]
        assert names == ["handoff.lock", "handoff-new", "tmpsdk"]

    def test_no_cache_is_no_error(self, directory: Path) -> None:
        """
        There is nothing to do.
        """
        Cache(directory, limit=1).trim()

        assert not directory.exists()


def test_a_reflink_is_another_file_with_the_same_bytes(tmp_path: Path) -> None:
    """
    Where the disk has them; elsewhere the answer is no, and nothing was written.
    """
    (tmp_path / "source").write_bytes(HELLO)
    with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("w+b") as target:
        made = reflink(source.fileno(), target.fileno())
        assert target.read() == (HELLO if made else b"")


class TestInADownload:
    """What a download asks of the cache."""

    def test_copies_leave_room_for_what_is_to_come(self, registry: FakeRegistry, tmp_path: Path) -> None:
        """
        A file is kept only where the disk still takes all that is missing after it.
        """
        asked: list[int] = []

        class Told(Cache):
            def add(self, entry: Promise, file: Path, *, keep_free: int = 0) -> None:
                asked.append(keep_free)
                super().add(entry, file, keep_free=keep_free)

        known = registry.version(files={"a": b"aaaa", "b": b"bbb", "c": b"c"})
        download(known, tmp_path / "model", registry, cache=Told(tmp_path / "cache"), concurrency=1)

        assert asked == [4, 1, 0]

    def test_an_error_ends_a_long_copy(self, registry: FakeRegistry, tmp_path: Path) -> None:
        """
        Ctrl-C does not wait until a large file is proven.
        """
        known, ended = registry.version(files={"a": b"aaaa", "b": b"bbb"}), []
        both = threading.Barrier(2)

        class Slow(Cache):
            def take(
                self, entry: Promise, into: Path, *, advance: Callable[[int], object] = lambda _size: None
            ) -> bool:
                del into
                both.wait(10)
                if entry.size == 4:
                    raise RuntimeError("Ctrl-C, say")
                try:
                    for _ in range(1000):
                        advance(1)
                        threading.Event().wait(0.01)
                finally:
                    ended.append(sys.exc_info()[0])
                return False

        with pytest.raises(RuntimeError, match="Ctrl-C"):
            download(known, tmp_path / "model", registry, cache=Slow(tmp_path), concurrency=2)

        assert ended == [FetchError]


@pytest.mark.parametrize(("algorithm", "layout"), [("MD5", "V1"), ("XXH128", "V2")])
class TestTheSdk:
    """The same directory serves W&B's own SDK and us."""

    def test_what_it_cached_is_found(
        self, wandb: WandbStandIn, tmp_path: Path, algorithm: str, layout: str
    ) -> None:
        """
        Each file that it downloaded is taken, proven.
        """
        name = wandb.log_artifact(NAME, FILES, algorithm=algorithm, layout=layout).name
        in_sdk(DOWNLOAD, name, tmp_path, wandb, "there")
        cache = Cache(tmp_path / "CACHE")

        for number, content in enumerate(FILES.values()):
            taken = tmp_path / str(number)
            assert cache.take(entry(content, DigestAlgorithm[algorithm]), taken)
            assert taken.read_bytes() == content

    def test_it_finds_what_we_cached(
        self, wandb: WandbStandIn, tmp_path: Path, algorithm: str, layout: str
    ) -> None:
        """
        It downloads the artifact without asking for a single file.
        """
        name = wandb.log_artifact(NAME, FILES, algorithm=algorithm, layout=layout).name
        cache = Cache(tmp_path / "CACHE")
        for number, content in enumerate(FILES.values()):
            file = tmp_path / str(number)
            file.write_bytes(content)
            cache.add(entry(content, DigestAlgorithm[algorithm]), file)

        got = in_sdk(DOWNLOAD, name, tmp_path, wandb, "there")

        assert got == {path: content.hex() for path, content in FILES.items()}
        assert not [each for each in wandb.requests if (each.target or "").startswith(("file:", "download:"))]
