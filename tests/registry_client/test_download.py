"""The story of a download: in memory, then over HTTP with everything that can go wrong there."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from registry_client.api import WandbApi
from registry_client.credentials import ApiKey
from registry_client.download import Download, download
from registry_client.errors import (
    ConfigurationError,
    FetchError,
    ManifestError,
    ReferenceEntriesError,
    RegistryError,
    TargetError,
    VerificationError,
)
from registry_client.manifest import Manifest
from registry_client.progress import Quiet
from registry_client.resolve import resolve
from registry_client.version import DigestAlgorithm
from tests.fakes import LABELS, FakeRegistry, manifest_of
from tests.stand_ins.wandb import WandbStandIn

FLOWER = "acme/vision/flower"
FILES: dict[str, bytes | Path] = {
    "labels.txt": b"cat dog",
    "weights/my model (ü).bin": bytes(range(256)) * 9000,
    "empty": b"",
}


class Told(Quiet):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.size = 0
        self._lock = threading.Lock()

    def start(self, files: int, size: int) -> None:
        """A download begins."""
        self.events.append(("start", files, size))

    def advance(self, size: int) -> None:
        """Bytes came."""
        with self._lock:
            self.size += size

    def file_done(self) -> None:
        """A file came."""
        self.events.append(("file",))

    def finish(self, *, ok: bool) -> None:
        """It is over."""
        self.events.append(("finish", ok))


def contents(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def left(folder: Path) -> set[str]:
    """What a failed try has left for the next one: proven files, in a place beside the target."""
    assert not (folder / "model").exists()
    return {
        path.relative_to(staging / "content").as_posix()
        for staging in folder.glob(".model.handoff-*")
        for path in (staging / "content").rglob("*")
        if path.is_file()
    }


# --- in memory


@pytest.mark.parametrize("algorithm", DigestAlgorithm, ids=lambda each: each.name)
def test_a_version_becomes_a_directory(
    registry: FakeRegistry, tmp_path: Path, algorithm: DigestAlgorithm
) -> None:
    """
    Exactly its files are there, and nothing beside them.
    """
    version = registry.version(algorithm=algorithm)
    told = Told()

    done = download(version, tmp_path / "model", registry, progress=told)

    assert contents(tmp_path / "model") == LABELS
    assert [each.name for each in tmp_path.iterdir()] == ["model"]
    assert (done.directory, done.version, done.file_count) == (tmp_path / "model", version, 2)
    assert done.size == told.size == sum(map(len, LABELS.values()))
    assert told.events == [("start", 2, done.size), ("file",), ("file",), ("finish", True)]


@pytest.mark.parametrize("served", [b"cat dot", b"cat do", b"cat dogs", b""])
def test_wrong_bytes_leave_nothing(registry: FakeRegistry, tmp_path: Path, served: bytes) -> None:
    """
    Flipped, short, long or empty content raises, and no directory appears.
    """
    version = registry.version()
    registry.files["labels.txt"] = served
    told = Told()

    with pytest.raises(VerificationError, match=r"^labels\.txt: got"):
        download(version, tmp_path / "model", registry, progress=told)

    assert left(tmp_path) <= {"weights/model.bin"}
    assert told.events[-1] == ("finish", False)


@pytest.mark.parametrize(
    "files",
    [{}, {"empty": b""}, {"ein Name/mit ü und 🌼.bin": b"x"}, {"a/b/c/d/e": b"x", "a/b/c/d/f": b"y"}],
    ids=["nothing", "an empty file", "spaces and unicode", "deep"],
)
def test_every_shape_of_artifact_is_written(
    registry: FakeRegistry, tmp_path: Path, files: dict[str, bytes]
) -> None:
    """
    No files at all, empty ones, any name that is safe.
    """
    done = download(registry.version(files=files), tmp_path / "model", registry)

    assert contents(tmp_path / "model") == files
    assert done.file_count == len(files)


def test_another_versions_manifest_is_refused(registry: FakeRegistry, tmp_path: Path) -> None:
    """
    The digest of the version covers the manifest; nothing is fetched by another one.
    """
    version = registry.version()
    registry.manifests[version.id] = manifest_of(LABELS | {"labels.txt": b"dog cat"})

    with pytest.raises(ManifestError, match="digest: got"):
        download(version, tmp_path / "model", registry)

    assert registry.opened == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil"])
def test_a_path_that_leaves_the_directory_is_refused(
    registry: FakeRegistry, tmp_path: Path, path: str
) -> None:
    """
    Even with the right digest, before any byte is fetched.
    """
    version = registry.version()
    registry.manifests[version.id] = manifest_of({path: b"evil"})

    with pytest.raises(ManifestError):
        download(version, tmp_path / "model", registry)

    assert registry.opened == []


def test_references_are_listed(registry: FakeRegistry, tmp_path: Path) -> None:
    """
    Files outside W&B are not fetched: the first ten are named, the rest counted.
    """
    version = registry.version()
    manifest = json.loads(manifest_of({}))
    manifest["contents"] = {
        f"part-{number:02}": {"digest": "etag", "ref": f"s3://bucket/{number}"} for number in range(12)
    }
    registry.manifests[version.id] = json.dumps(manifest).encode()
    object.__setattr__(version, "digest", _digest(registry.manifests[version.id]))

    with pytest.raises(ReferenceEntriesError, match=r"points at 12 file\(s\)") as caught:
        download(version, tmp_path / "model", registry)

    assert "- part-09: s3://bucket/9\n… and 2 more" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_is_a_file_is_refused_before_anything_is_asked(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    """
    Not even the manifest is fetched for what can be no directory.
    """
    version = registry.version()
    (tmp_path / "model").touch()
    registry.manifests.clear()

    with pytest.raises(TargetError, match="is there and no directory"):
        download(version, tmp_path / "model", registry)


def test_a_full_disk_is_noticed_before_the_first_byte(registry: FakeRegistry, tmp_path: Path) -> None:
    """
    The sizes are in the manifest.
    """
    with pytest.raises(TargetError, match="takes 2,054 more bytes, want 2,055"):
        download(registry.version(), tmp_path / "model", registry, free=lambda _: 2054)

    assert registry.opened == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("concurrency", [0, -1, 65])
def test_a_senseless_concurrency_is_refused(registry: FakeRegistry, tmp_path: Path, concurrency: int) -> None:
    """
    None, or more than there are connections.
    """
    with pytest.raises(ConfigurationError, match=f"concurrency: got {concurrency}, want 1 to 64"):
        download(registry.version(), tmp_path / "model", registry, concurrency=concurrency)


def test_no_more_files_at_a_time_than_asked_for(registry: FakeRegistry, tmp_path: Path) -> None:
    """
    With one at a time, the largest comes first.
    """
    version = registry.version(files={"a": b"1", "b": b"333", "c": b"22"})

    download(version, tmp_path / "model", registry, concurrency=1)

    assert [url for url, _ in registry.opened] == ["url0:b", "url0:c", "url0:a"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_leaves_nothing(
    registry: FakeRegistry, tmp_path: Path, error: type[BaseException]
) -> None:
    """
    Ctrl-C, or a signal turned into an exception, while files arrive.
    """
    version = registry.version()

    def interrupt(_: str) -> None:
        raise error

    registry.on_open = interrupt

    with pytest.raises(error):
        download(version, tmp_path / "model", registry)

    assert list(tmp_path.iterdir()) == []


# --- over HTTP


@pytest.fixture
def fetch(wandb: WandbStandIn, api: WandbApi, tmp_path: Path, naps: list[float]) -> Callable[..., Download]:
    """Log the files, pin the version, download it into ``tmp_path/model``."""

    def fetch(files: dict[str, bytes | Path] = FILES, **more: Any) -> Download:
        options = {name: more.pop(name) for name in ("concurrency", "free") if name in more}
        logged = wandb.log_artifact(FLOWER, files, **more)
        version = resolve(logged.reference, api)
        return download(version, tmp_path / "model", api, sleep=naps.append, **options)

    return fetch


@pytest.mark.parametrize("algorithm", ["MD5", "XXH128"])
@pytest.mark.parametrize("layout", ["V1", "V2"])
def test_files_come_over_http(
    wandb: WandbStandIn, fetch: Callable[..., Download], algorithm: str, layout: str
) -> None:
    """
    Both digests, both layouts; three questions, one request for the manifest and each file that has bytes.
    """
    done = fetch(algorithm=algorithm, layout=layout)

    assert contents(done.directory) == FILES
    operations = [each.operation for each in wandb.requests if each.operation]
    assert operations == ["VersionById", "ManifestUrl", "FileUrls"]
    assert len([each for each in wandb.requests if each.origin == "files"]) == len(FILES)


def test_file_stores_never_see_the_key(
    wandb: WandbStandIn,
    fetch: Callable[..., Download],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Not even when a netrc has an entry for their host, which requests would use.
    """
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\ndefault login c password d\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))

    fetch()

    stored = [each for each in wandb.requests if each.origin == "files"]
    assert stored
    assert not [each for each in stored if "authorization" in each.headers]
    assert {each.headers["accept-encoding"] for each in stored} == {"identity"}
    assert {each.headers["user-agent"] for each in wandb.requests} == {"wandb-handoff/0.1.0"}


@pytest.mark.parametrize("layout", ["V1", "V2"])
def test_a_redirect_does_not_take_the_key_along(
    wandb: WandbStandIn, fetch: Callable[..., Download], layout: str
) -> None:
    """
    Files without a URL come from W&B's own endpoint, signed in; where that leads sees no key.
    """
    page = {"pageInfo": {"endCursor": None, "hasNextPage": False}, "edges": []}
    hidden = {"project": {"artifactCollection": {"artifactMembership": {"files": page}}}}
    wandb.faults.add("graphql:FileUrls", body=json.dumps({"data": hidden}).encode())

    done = fetch(layout=layout)

    assert contents(done.directory) == FILES
    endpoints = [each for each in wandb.requests if each.origin == "api" and not each.operation]
    assert len(endpoints) == len(FILES) - 1
    assert all(each.headers["authorization"].startswith("Basic ") for each in endpoints)
    assert not [each for each in wandb.requests if each.origin == "files" and "authorization" in each.headers]


@pytest.mark.parametrize(
    ("fault", "naps_taken"),
    [
        ({"status": 503}, 1),
        ({"status": 429, "retry_after": 7}, 1),
        ({"status": 500, "times": 3}, 3),
        ({"reset": True}, 1),
        ({"cut_after": 100_000}, 1),
        ({"cut_after": 0}, 1),
    ],
    ids=["503", "429", "500 thrice", "reset", "cut short", "cut at once"],
)
def test_faults_on_the_way_are_overcome(
    wandb: WandbStandIn,
    fetch: Callable[..., Download],
    naps: list[float],
    fault: dict[str, Any],
    naps_taken: int,
) -> None:
    """
    Another try, after a pause, brings the rest of the file.
    """
    wandb.faults.add("file:weights/*", **fault)

    done = fetch()

    assert contents(done.directory) == FILES
    assert len(naps) == naps_taken
    assert naps[0] >= fault.get("retry_after", 0.5)


def test_a_cut_file_goes_on_where_it_broke(wandb: WandbStandIn, fetch: Callable[..., Download]) -> None:
    """
    A range asks for the rest; a store that ignores it is understood as well.
    """
    wandb.faults.add("file:weights/*", cut_after=2 * 1024 * 1024)
    wandb.faults.add("file:weights/*", ignore_range=True)

    done = fetch()

    assert contents(done.directory) == FILES
    ranges = [
        each.headers.get("range") for each in wandb.requests if each.target and "weights" in each.target
    ]
    assert ranges == [None, f"bytes={2 * 1024 * 1024}-"]


def test_a_stalled_connection_is_noticed(wandb: WandbStandIn, tmp_path: Path, naps: list[float]) -> None:
    """
    A store that stops in the middle is left after the read timeout.
    """
    wandb.faults.add("file:labels.txt", cut_after=3, stall=30)
    logged = wandb.log_artifact(FLOWER, FILES)
    began = time.monotonic()

    with WandbApi(wandb.url, ApiKey.parse(wandb.api_key, "test"), sleep=naps.append, read_timeout=0.3) as api:
        download(resolve(logged.reference, api), tmp_path / "model", api, sleep=naps.append)

    assert contents(tmp_path / "model") == FILES
    assert len(naps) == 1
    assert time.monotonic() - began < 10


def test_urls_that_ended_are_renewed(tmp_path: Path) -> None:
    """
    A download may last longer than its URLs.
    """
    clock = [datetime(2026, 1, 31, tzinfo=timezone.utc)]

    def later() -> None:
        clock[0] += timedelta(hours=2)

    with WandbStandIn(now=lambda: clock[0]) as wandb:
        logged = wandb.log_artifact(FLOWER, {"a": b"a" * 10, "b": b"b"})
        wandb.faults.add("file:a", flip_byte=None, then=later)
        with WandbApi(wandb.url, ApiKey.parse(wandb.api_key, "test")) as api:
            download(resolve(logged.reference, api), tmp_path / "model", api, concurrency=1)

    assert contents(tmp_path / "model") == {"a": b"a" * 10, "b": b"b"}
    assert [each.operation for each in wandb.requests if each.operation][-1] == "FileUrl"


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ({"flip_byte": 3}, VerificationError, "got MD5"),
        ({"longer": b"!"}, VerificationError, "got more than the 7 bytes"),
        ({"body": b"cat do"}, VerificationError, "got 6 bytes, want 7"),
        ({"body": b""}, VerificationError, "got 0 bytes, want 7"),
        ({"gzip": True}, FetchError, r"labels\.txt: sent as gzip, though asked for as it is"),
        ({"status": 418}, FetchError, "answered 418"),
        ({"status": 302, "headers": {"Location": "http://files.test/x"}}, FetchError, "in the clear"),
        ({"status": 302, "headers": {"Location": "/"}, "times": 9}, FetchError, "though renewed 3 times"),
        ({"status": 403, "times": 9}, FetchError, "answered 403 to a file's URL, though renewed 3 times"),
        ({"status": 503, "times": 9}, FetchError, r"answered 503 \(tried 6 times\)"),
        ({"status": 503, "retry_after": 7200}, FetchError, "asks to wait 7200 s"),
        ({"reset": True, "times": 9}, FetchError, r"reset|closed|aborted|RemoteDisconnected"),
    ],
    ids=lambda part: None if isinstance(part, dict) else "",
)
def test_what_cannot_be_overcome_leaves_nothing(  # noqa: PLR0917 - fixtures and cases
    wandb: WandbStandIn,
    fetch: Callable[..., Download],
    tmp_path: Path,
    fault: dict[str, Any],
    error: type[RegistryError],
    message: str,
) -> None:
    """
    The file is named with what is wrong; wrong bytes are never excused by a second try.
    """
    wandb.faults.add("file:labels.txt", **fault)

    with pytest.raises(error, match=message) as caught:
        fetch()

    assert "labels.txt" in str(caught.value) or error is FetchError
    assert "Signature" not in str(caught.value)
    assert "labels.txt" not in left(tmp_path)
    if error is VerificationError:
        assert len([each for each in wandb.requests if each.target == "file:labels.txt"]) == 1


def test_the_first_failure_stops_the_rest_at_once(wandb: WandbStandIn, tmp_path: Path) -> None:
    """
    Other files hang in the middle: their connections are woken, nobody waits for their timeouts.
    """
    files: dict[str, bytes | Path] = {f"slow-{number}": b"x" * 1000 for number in range(3)}
    wandb.faults.add("file:slow-*", times=None, cut_after=10, stall=60)
    wandb.faults.add("file:bad", flip_byte=0)
    logged = wandb.log_artifact(FLOWER, files | {"bad": b"y"})
    began = time.monotonic()

    with (
        WandbApi(wandb.url, ApiKey.parse(wandb.api_key, "test"), read_timeout=60) as api,
        pytest.raises(VerificationError, match=r"^bad:"),
    ):
        download(resolve(logged.reference, api), tmp_path / "model", api, concurrency=4)

    assert time.monotonic() - began < 10
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def heeding_ctrl_c() -> Iterator[None]:
    """What a shell starts in the background ignores SIGINT, and Python leaves it so: not here."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeding_ctrl_c")
def test_ctrl_c_ends_a_download_that_hangs(wandb: WandbStandIn, tmp_path: Path) -> None:
    """
    The signal reaches the main thread, which wakes the others and cleans up.
    """
    wandb.faults.add("file:a", cut_after=1, stall=60, then=lambda: threading.Timer(0.2, interrupt).start())
    logged = wandb.log_artifact(FLOWER, {"a": b"aaa"})

    def interrupt() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with (
        WandbApi(wandb.url, ApiKey.parse(wandb.api_key, "test"), read_timeout=60) as api,
        pytest.raises(KeyboardInterrupt),
    ):
        download(resolve(logged.reference, api), tmp_path / "model", api)

    assert list(tmp_path.iterdir()) == []


def test_urls_come_in_pages(wandb: WandbStandIn, fetch: Callable[..., Download]) -> None:
    """
    W&B decides how many at a time.
    """
    wandb.most_per_page = 2
    files: dict[str, bytes | Path] = {f"part-{number}": bytes([number]) for number in range(5)}

    done = fetch(files)

    assert contents(done.directory) == files
    assert [each.operation for each in wandb.requests].count("FileUrls") == 3


def test_references_are_refused_over_http(fetch: Callable[..., Download], tmp_path: Path) -> None:
    """
    A version with a file in S3 is not half downloaded.
    """
    with pytest.raises(ReferenceEntriesError, match=r"- far\.bin: s3://bucket/far\.bin"):
        fetch(references={"far.bin": "s3://bucket/far.bin"})

    assert list(tmp_path.iterdir()) == []


def _digest(manifest: bytes) -> str:
    return Manifest.parse(manifest).digest(DigestAlgorithm.MD5)
