"""A download uses what is there: in the target, from an interrupted try, in a cache, under another name."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from registry_client.digest import Promise
from registry_client.download import Download, download
from registry_client.errors import (
    ConfigurationError,
    DiskFullError,
    FetchError,
    TargetError,
    TooLargeError,
    VerificationError,
)
from registry_client.manifest import Manifest, ManifestEntry
from registry_client.patience import TransientError
from registry_client.references import ReferencePolicy
from registry_client.version import ArtifactVersion, DigestAlgorithm
from tests.fakes import LABELS, FakeAnswer, FakeRegistry, cut
from tests.registry_client.test_download import Told, contents

PART = 500_000  # Here, so that the tests are quick.
LARGE = os.urandom(PART) * 3 + b"the end"
FILES = {"big.bin": LARGE, "small.txt": b"cat dog", "sub/mid.bin": os.urandom(400_000)}


class Killed(BaseException):
    """As a signal would raise it."""


@dataclass
class World:
    """One version, and a place to have it."""

    registry: FakeRegistry
    folder: Path
    version: ArtifactVersion = field(init=False)

    def __post_init__(self) -> None:
        self.version = self.registry.version(files=FILES)

    @property
    def into(self) -> Path:
        """Where it is to be."""
        return self.folder / "model"

    def get(self, version: ArtifactVersion | None = None, **more: Any) -> Download:
        """Have it; with one connection, so that what was fetched is known."""
        self.registry.opened.clear()
        self.registry.parts.clear()
        self.registry.asked_for_urls = 0
        options = {"concurrency": 1, "sleep": lambda _: None, **more}
        return download(version or self.version, self.into, self.registry, **options)

    def interrupted(self, path: str, *answers: FakeAnswer, **more: Any) -> None:
        """A try that is killed when it opens ``path`` after these answers; nothing is tidied."""
        saved, killed = self.folder / "saved", list[Path]()

        def kill(opened: str) -> None:
            if opened == path and not self.registry.broken.get(path):
                killed.append(self.staging)
                shutil.copytree(self.staging, saved, symlinks=True)
                raise Killed

        self.registry.broken[path] = list(answers)
        self.registry.on_open = kill
        with pytest.raises(Killed):
            self.get(**more)
        self.registry.on_open = lambda _: None
        shutil.rmtree(killed[0], ignore_errors=True)
        saved.rename(killed[0])

    @property
    def staging(self) -> Path:
        """Where an interrupted try leaves its work."""
        [staging] = self.folder.glob(".model.handoff-*")
        return staging

    @property
    def fetched(self) -> list[str]:
        """The paths opened since the last call began."""
        return [url.partition(":")[2] for url, _ in self.registry.opened]


@pytest.fixture
def world(registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    for module in ("assembly", "filling"):
        monkeypatch.setattr(f"registry_client.{module}.PART", PART)
    return World(registry, tmp_path)


# --- in parts


def test_a_large_file_comes_in_parts(world: World) -> None:
    """
    Each byte is asked for once; the last part takes what is left.
    """
    done = world.get()

    assert contents(world.into) == FILES
    assert world.registry.parts == [
        ("big.bin", 0, PART),
        ("big.bin", PART, PART),
        ("big.bin", 2 * PART, PART + 7),
    ]
    assert (done.fetched, done.reused) == (sum(map(len, FILES.values())), 0)


@pytest.mark.parametrize("concurrency", [1, 2, 8])
def test_a_store_without_ranges_sends_a_large_file_once(world: World, concurrency: int) -> None:
    """
    When it answers the first part with the whole file, one plain connection brings it.
    """
    world.registry.ranges = False

    world.get(concurrency=concurrency)

    assert contents(world.into) == FILES
    assert world.fetched.count("big.bin") == 2
    assert world.registry.parts == [("big.bin", 0, PART)]


def test_a_store_that_forgets_about_ranges_is_understood(world: World) -> None:
    """
    Some machine behind a name may not know them: what was not asked for is passed over.
    """
    whole = FakeAnswer(LARGE, length=len(LARGE), total=len(LARGE))
    part = FakeAnswer(LARGE[:PART], length=PART, total=len(LARGE), status=206)
    world.registry.broken["big.bin"] = [part, whole]

    world.get()

    assert contents(world.into) == FILES


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (FakeAnswer(b"x", total=len(LARGE) + 1, status=206), r"^big\.bin: got \d+ bytes, want \d+$"),
        (FakeAnswer(b"", total=None, status=416), r"^big\.bin: got fewer than the \d+ bytes"),
    ],
    ids=["another size", "past its end"],
)
def test_a_stored_file_of_another_size_is_wrong(world: World, answer: FakeAnswer, message: str) -> None:
    """
    That is seen at the first part; nothing of it is kept.
    """
    world.registry.broken["big.bin"] = [answer]

    with pytest.raises(VerificationError, match=message):
        world.get()

    assert world.fetched == ["big.bin"]
    assert not list(world.folder.glob(".model.handoff-*"))


@pytest.mark.parametrize(
    ("served", "message"),
    [(b"too short", "got 9 bytes, want 400000"), (bytes(400_001), "got more than the 400000 bytes")],
    ids=["short", "long"],
)
def test_a_file_that_comes_in_one_is_as_long_as_promised(world: World, served: bytes, message: str) -> None:
    """
    The first byte too many ends it; nothing of it is kept.
    """
    world.registry.files["sub/mid.bin"] = served

    with pytest.raises(VerificationError, match=rf"^sub/mid\.bin: {message}"):
        world.get()

    assert not list(world.folder.glob(".model.handoff-*/*/md5-*"))


def test_a_part_cut_short_is_resumed(world: World) -> None:
    """
    From where it broke up to the end of the part, whether the connection broke or the part was shorter.
    """
    shorter = FakeAnswer(LARGE[1000:3000], 1000, length=2000, total=len(LARGE), status=206)
    world.registry.broken["big.bin"] = [cut(LARGE[:1000]), shorter]
    world.registry.broken["big.bin"][0].status = 206  # type: ignore[union-attr]

    world.get()

    assert contents(world.into) == FILES
    assert world.registry.parts[:4] == [
        ("big.bin", 0, PART),
        ("big.bin", 1000, PART - 1000),
        ("big.bin", 3000, PART - 3000),
        ("big.bin", PART, PART),
    ]


def test_a_part_that_is_longer_than_asked_for_ends_where_it_should(world: World) -> None:
    """
    The bytes after it belong to the next part.
    """
    longer = FakeAnswer(LARGE[:PART] + bytes(5000), total=len(LARGE), status=206)
    world.registry.broken["big.bin"] = [longer]

    world.get()

    assert contents(world.into) == FILES


def test_wrong_bytes_in_a_part_leave_nothing_of_the_file(world: World) -> None:
    """
    The digest of the whole file decides.
    """
    world.registry.files["big.bin"] = LARGE[:-1] + b"!"

    with pytest.raises(VerificationError, match=r"^big\.bin: got MD5"):
        world.get()

    assert not world.into.exists()
    assert not list(world.folder.glob(".model.handoff-*/*/md5-*"))


# --- interrupted


def test_the_next_try_goes_on_part_by_part(world: World) -> None:
    """
    Killed in the second part: what is written is not fetched again.
    """
    first = FakeAnswer(LARGE[:PART], total=len(LARGE), status=206)
    second = cut(LARGE[PART : PART + 100_000], PART)
    second.status = 206
    world.interrupted("big.bin", first, second)
    told = Told()

    done = world.get(progress=told)

    assert contents(world.into) == FILES
    assert world.registry.parts[0] == ("big.bin", PART + 100_000, len(LARGE) - PART - 100_000)
    assert done.fetched == sum(map(len, FILES.values())) - PART - 100_000
    assert done.reused == PART + 100_000
    assert told.size == done.size
    assert [each.name for each in world.folder.iterdir()] == ["model"]


def test_files_that_are_whole_are_not_fetched_again(world: World) -> None:
    """
    They are hashed: a process that was killed may have been writing one.
    """
    world.interrupted("small.txt")
    assert {"big.bin", "sub/mid.bin"} <= set(world.fetched)

    world.get()

    assert contents(world.into) == FILES
    assert world.fetched == ["small.txt"]


def test_a_staged_file_with_other_bytes_is_fetched_again(world: World) -> None:
    """
    Nothing in the staging is believed; what does not belong there is gone.
    """
    world.interrupted("small.txt")
    content = world.staging / "content"
    (content / "sub/mid.bin").write_bytes(b"half")
    (content / "sub/mine").touch()
    (content / "odd/empty").mkdir(parents=True)

    world.get()

    assert contents(world.into) == FILES
    assert not (world.into / "odd").exists()
    assert world.fetched == ["sub/mid.bin", "small.txt"]


def test_parts_that_turn_out_wrong_are_fetched_once_more(world: World) -> None:
    """
    What an earlier try left may be spoiled; the file gets one chance from its start.
    """
    world.interrupted("big.bin", FakeAnswer(LARGE[:PART], total=len(LARGE), status=206))
    [spoiled] = [each for each in (world.staging / "partial").iterdir() if each.suffix != ".parts"]
    with spoiled.open("r+b") as file:
        file.write(b"spoiled")

    world.get()

    assert contents(world.into) == FILES
    assert world.fetched.count("big.bin") == 3  # The two parts that were missing, then all of it.


def test_parts_and_store_wrong_is_an_error(world: World) -> None:
    """
    The second time it is the store's fault, and nothing is left of the file.
    """
    world.interrupted("big.bin", FakeAnswer(LARGE[:PART], total=len(LARGE), status=206))
    world.registry.files["big.bin"] = LARGE[:-1] + b"!"

    with pytest.raises(VerificationError, match=r"^big\.bin: got MD5"):
        world.get()

    assert not list(world.folder.glob(".model.handoff-*/*/md5-*"))


def test_a_file_killed_before_it_got_its_place_needs_no_bytes(world: World) -> None:
    """
    All parts are here: it is hashed, and that is all.
    """
    world.interrupted("sub/mid.bin")
    big = world.staging / "content" / "big.bin"
    [name] = [f"md5-{_hex(world, 'big.bin')}"]
    big.rename(world.staging / "partial" / name)
    (world.staging / "partial" / f"{name}.parts").write_bytes(b"0 %d\n" % len(LARGE))

    world.get()

    assert contents(world.into) == FILES
    assert "big.bin" not in world.fetched


def test_a_link_put_into_the_staging_is_refused(world: World, tmp_path: Path) -> None:
    """
    Between check and write: nothing is written outside.
    """
    (tmp_path / "outside").mkdir()

    def swap(path: str) -> None:
        if path == "sub/mid.bin":
            (world.staging / "content" / "sub").symlink_to(tmp_path / "outside")

    world.registry.on_open = swap

    with pytest.raises(TargetError, match=r"sub/mid\.bin cannot be written"):
        world.get()

    assert list((tmp_path / "outside").iterdir()) == []
    assert not world.into.exists()


def test_a_file_put_into_the_staging_is_noticed(world: World) -> None:
    """
    The directory holds exactly the artifact's files.
    """
    world.registry.on_open = lambda _: (world.staging / "content" / "evil").touch()

    with pytest.raises(TargetError, match="was changed by somebody else: see evil"):
        world.get()

    assert not world.into.exists()


# --- at the target


def test_nothing_is_done_when_all_is_there(world: World) -> None:
    """
    The files are hashed; no URL is asked for, and the directory is the same one.
    """
    world.get()
    before = world.into.stat().st_ino
    told = Told()

    done = world.get(progress=told)

    assert (done.fetched, done.reused) == (0, done.size)
    assert (world.fetched, world.registry.asked_for_urls) == ([], 0)
    assert world.into.stat().st_ino == before
    assert told.size == done.size
    assert told.events[-1] == ("finish", True)


def test_what_is_missing_is_fetched(world: World) -> None:
    """
    Right files stay what they are, by a link where the disk can.
    """
    world.get()
    before = (world.into / "big.bin").stat().st_ino
    (world.into / "small.txt").unlink()

    done = world.get()

    assert contents(world.into) == FILES
    assert (world.fetched, done.fetched) == (["small.txt"], 7)
    assert (world.into / "big.bin").stat().st_ino == before
    assert [each.name for each in world.folder.iterdir()] == ["model"]


def test_right_files_are_fetched_where_links_cannot_be(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Some disks have none.
    """
    world.get()
    (world.into / "small.txt").unlink()

    def denied(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", denied)

    world.get()

    assert contents(world.into) == FILES


def spoil(into: Path) -> None:
    (into / "sub/mid.bin").write_bytes(b"mine")


def add(into: Path) -> None:
    for number in range(5):
        (into / f"mine-{number}").touch()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (spoil, r"model is not empty: it has other bytes in sub/mid\.bin .* --replace"),
        (add, r"model is not empty: it has mine-0, mine-1, mine-2, …, which .* --replace"),
    ],
    ids=["other bytes", "other files"],
)
def test_what_somebody_else_has_there_is_replaced_only_when_told(
    world: World, change: Callable[[Path], None], message: str
) -> None:
    """
    Without the word nothing is touched; with it what is right is kept, and nothing else.
    """
    world.get()
    change(world.into)
    before = contents(world.into)

    with pytest.raises(TargetError, match=message):
        world.get()
    assert contents(world.into) == before
    assert world.fetched == []

    world.get(replace=True)
    assert contents(world.into) == FILES
    assert set(world.fetched) <= {"sub/mid.bin"}
    assert [each.name for each in world.folder.iterdir()] == ["model"]


def test_a_target_that_changes_meanwhile_is_left_alone(world: World) -> None:
    """
    Even with ``replace``: what came after we looked is nobody's to replace.
    """

    def meanwhile(_: str) -> None:
        world.into.mkdir(exist_ok=True)
        (world.into / "theirs").touch()

    world.registry.on_open = meanwhile

    with pytest.raises(TargetError, match="was changed while files were fetched"):
        world.get(replace=True)

    assert contents(world.into) == {"theirs": b""}


# --- the same content, a cache


def test_the_same_content_is_fetched_once(world: World) -> None:
    """
    Under however many names, small or large; each is a file of its own.
    """
    files = {"a/1": LARGE, "a/2": LARGE, "b/1": b"x", "b/2": b"x", "b/3": b"x", "e/1": b"", "e/2": b""}
    version = world.registry.version(files=files)
    told = Told()

    done = world.get(version, progress=told)

    assert contents(world.into) == files
    assert sorted(set(world.fetched)) == ["a/1", "b/1"]
    assert not (world.into / "a/1").samefile(world.into / "a/2")
    assert (done.fetched, done.reused) == (len(LARGE) + 1, len(LARGE) + 2)
    assert told.size == done.size
    assert told.events.count(("file",)) == 7


def test_content_that_is_here_under_another_name_is_copied(world: World) -> None:
    """
    From what an interrupted try has left.
    """
    world.version = world.registry.version(files={"a": b"same", "b": b"same", "c": b"other"})
    world.get()
    (world.into / "b").unlink()
    (world.into / "c").unlink()

    world.get()

    assert contents(world.into) == {"a": b"same", "b": b"same", "c": b"other"}
    assert world.fetched == ["c"]


def test_an_empty_file_must_be_promised_to_be_empty(world: World) -> None:
    """
    No bytes are fetched for it, and its digest is checked all the same.
    """
    version = world.registry.version(files={"empty": b""})
    body = world.registry.manifests[version.id].replace(
        b"1B2M2Y8AsgTpgAmY7PhCfg==", b"XUFAKrxLKna5cZ2REBfFkg=="
    )
    world.registry.manifests[version.id] = body
    object.__setattr__(version, "digest", _digest(body))

    with pytest.raises(VerificationError, match=r"^empty: got MD5"):
        world.get(version)

    assert world.fetched == []


class FakeCache:
    """Keeps files by their digests, and proves nothing: its rule is that it gives what it was given."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.trimmed = 0

    def take(self, entry: Promise, into: Path, *, advance: Callable[[int], object]) -> bool:
        """The file, if it is kept."""
        if entry.digest in self.kept:
            advance(entry.size)
            into.write_bytes(self.kept[entry.digest])
        return entry.digest in self.kept

    def add(self, entry: Promise, file: Path, *, keep_free: int) -> None:
        """Keep it."""
        assert keep_free >= 0
        self.kept[entry.digest] = file.read_bytes()

    def trim(self) -> None:
        """Count."""
        self.trimmed += 1


def test_a_cache_is_filled_and_used(world: World, tmp_path: Path) -> None:
    """
    The second job asks for no URL.
    """
    cache = FakeCache()
    world.get(cache=cache)
    assert sorted(cache.kept.values()) == sorted(FILES.values())
    assert cache.trimmed == 1
    world.into.rename(tmp_path / "first")

    done = world.get(cache=cache)

    assert contents(world.into) == FILES
    assert (world.fetched, world.registry.asked_for_urls, done.fetched) == ([], 0, 0)


def test_a_failure_ends_the_copies_out_of_a_cache(world: World) -> None:
    """
    Another thread is amid a large file: at its next chunk it learns that nobody wants it.
    """
    failed = threading.Event()

    class FailingCache(FakeCache):
        def take(self, entry: Promise, into: Path, *, advance: Callable[[int], object]) -> bool:
            """Fail with one file, and go on with another until that ends it."""
            assert not into.exists()
            if entry.path == "small.txt":
                failed.set()
                raise FetchError("the first reason")
            assert failed.wait(5)
            while True:
                advance(1)

    with pytest.raises(FetchError, match="the first reason"):
        world.get(cache=FailingCache(), concurrency=4)


def test_content_from_a_cache_may_have_several_names(world: World, tmp_path: Path) -> None:
    """
    It is taken once, and copied.
    """
    cache, version = FakeCache(), world.registry.version(files={"a": b"same", "b": b"same"})
    world.get(version, cache=cache)
    world.into.rename(tmp_path / "first")

    world.get(version, cache=cache)

    assert contents(world.into) == {"a": b"same", "b": b"same"}
    assert world.fetched == []


# --- how much, and which


def test_the_disk_must_take_what_is_missing_and_no_more(world: World) -> None:
    """
    Both numbers are told before the first byte; what is here already does not count.
    """
    total = sum(map(len, FILES.values()))
    with pytest.raises(DiskFullError, match=f"takes {total - 1:,} more bytes, want {total:,}"):
        world.get(free=lambda _: total - 1)
    assert world.fetched == []
    assert list(world.folder.iterdir()) == []

    world.interrupted("big.bin", FakeAnswer(LARGE[:PART], total=len(LARGE), status=206))
    world.get(free=lambda _: total - PART)
    assert contents(world.into) == FILES


def test_more_than_allowed_is_refused_before_anything_is_written(world: World) -> None:
    """
    By the sum of what is selected.
    """
    total = sum(map(len, FILES.values()))

    with pytest.raises(TooLargeError, match=f"{total:,} bytes"):
        world.get(max_size=total - 1)
    assert list(world.folder.iterdir()) == []

    world.get(max_size=total - len(LARGE), exclude=["big.bin"])
    assert world.into.exists()


def test_only_what_is_selected_comes(world: World) -> None:
    """
    The directory of a selection is whole when it has the selected files.
    """
    done = world.get(include=["*.bin"], exclude=["big*"])

    assert contents(world.into) == {"sub/mid.bin": FILES["sub/mid.bin"]}
    assert (done.file_count, done.size) == (1, 400_000)
    assert world.get(include=["*.bin"], exclude=["big*"]).fetched == 0
    with pytest.raises(ConfigurationError):
        world.get(include=["*.exe"])


# --- URLs


def test_files_flow_while_urls_are_asked_for(world: World) -> None:
    """
    The first file is opened before the last page is there.
    """
    files = {f"{number:02}": bytes([number]) for number in range(40)}
    version = world.registry.version(files=files)
    world.registry.page = 4

    world.get(version)

    assert contents(world.into) == files
    assert world.fetched == sorted(files)
    assert world.registry.asked_for_urls == 1


def test_a_page_that_fails_is_an_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    No file is silently left out.
    """

    def pages(_: ArtifactVersion) -> Any:
        yield {"small.txt": "url0:small.txt"}
        raise FetchError("W&B answered 500")

    monkeypatch.setattr(world.registry, "url_pages", pages)

    with pytest.raises(FetchError, match="W&B answered 500"):
        world.get()

    assert not world.into.exists()


def test_a_failing_file_is_named_and_the_others_are_kept(world: World) -> None:
    """
    The next try has less to do.
    """
    world.registry.broken["small.txt"] = [TransientError("files.test answered 503") for _ in range(6)]
    with pytest.raises(FetchError, match=r"^small\.txt: files\.test answered 503"):
        world.get()

    world.get()

    assert contents(world.into) == FILES
    assert world.fetched == ["small.txt"]


def test_two_downloads_at_once_do_not_meet(world: World) -> None:
    """
    The second one into the same directory is told so.
    """
    version = world.registry.version(files=LABELS)
    errors: list[TargetError] = []

    def meanwhile(path: str) -> None:
        if path == "labels.txt":
            world.registry.on_open = lambda _: None
            try:
                download(version, world.into, world.registry)
            except TargetError as error:
                errors.append(error)

    world.registry.on_open = meanwhile

    world.get(version)

    assert "another process is fetching" in str(errors[0])
    assert contents(world.into) == LABELS


# --- what lies elsewhere


class FakeOutside:
    """Files outside W&B, in memory."""

    def __init__(self, *_: object, **__: object) -> None:
        self.stopped = False

    def check(self, entries: Sequence[ManifestEntry]) -> None:
        """All are there."""

    def fetch(self, entry: ManifestEntry) -> Generator[bytes, None, None]:
        """Ten bytes, in two pieces."""
        yield b"01234"
        if entry.path == "broken":
            raise VerificationError("broken: got other bytes")
        yield b"56789"

    def stop(self) -> None:
        """Remember it."""


@pytest.fixture
def pointing(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ArtifactVersion]:
    """A version with files outside."""
    module = sys.modules[download.__module__]  # Its name is the function's, too.
    monkeypatch.setattr(module, "Outside", FakeOutside)

    def pointing(*paths: str) -> ArtifactVersion:
        version = world.registry.version(files={"own.txt": b"own"})
        manifest = json.loads(world.registry.manifests[version.id])
        for path in paths:
            manifest["contents"][path] = {"digest": "etag", "ref": f"s3://bucket/{path}"}
        body = json.dumps(manifest).encode()
        world.registry.manifests[version.id] = body
        return replace(version, digest=_digest(body))

    return pointing


def test_files_outside_are_listed_and_left_out(
    world: World, pointing: Callable[..., ArtifactVersion]
) -> None:
    """
    The directory is whole without them.
    """
    done = world.get(pointing("far.bin"), references=ReferencePolicy.LIST)

    assert contents(world.into) == {"own.txt": b"own"}
    assert [each.path for each in done.references] == ["far.bin"]
    assert (done.file_count, done.size) == (1, 3)


def test_files_outside_are_fetched_each_time(world: World, pointing: Callable[..., ArtifactVersion]) -> None:
    """
    What they are is for their storage to say: nobody can prove here that the old one is still it.
    """
    version = pointing("a/far.bin", "far.bin")
    wanted = {"own.txt": b"own", "a/far.bin": b"0123456789", "far.bin": b"0123456789"}

    for _ in range(2):
        done = world.get(version, references=ReferencePolicy.FETCH)
        assert contents(world.into) == wanted
    assert (done.fetched, world.fetched) == (20, [])


def test_a_file_outside_that_is_wrong_is_not_kept(
    world: World, pointing: Callable[..., ArtifactVersion]
) -> None:
    """
    Not even for the next try.
    """
    with pytest.raises(VerificationError, match="broken"):
        world.get(pointing("broken"), references=ReferencePolicy.FETCH)

    assert not world.into.exists()
    assert "broken" not in contents(world.staging / "content")


def test_files_outside_count_though_nobody_knew_their_size(
    world: World, pointing: Callable[..., ArtifactVersion]
) -> None:
    """
    All of them together, as they arrive.
    """
    version = pointing("a", "b")

    with pytest.raises(TooLargeError):
        world.get(version, references=ReferencePolicy.FETCH, max_size=22)

    world.get(version, references=ReferencePolicy.FETCH, max_size=23)


def _hex(world: World, path: str) -> str:
    manifest = Manifest.parse(world.registry.manifest(world.version))
    [entry] = [each for each in manifest.entries if each.path == path]
    return base64.b64decode(entry.digest).hex()


def _digest(manifest: bytes) -> str:
    return Manifest.parse(manifest).digest(DigestAlgorithm.MD5)
