"""Build contexts: the same bytes for the same artifact, and nobody else's file is touched."""

from __future__ import annotations

import io
import os
import re
import stat
import tarfile
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path

import pytest

from registry_client import build_context as module
from registry_client.build_context import LISTING, write_build_context
from registry_client.build_context_recipe import TEMPLATES, ContextKind, quoted, recipe
from registry_client.download import Download
from registry_client.errors import BuildContextError, TargetError
from registry_client.manifest import Manifest, ManifestEntry
from registry_client.version import DigestAlgorithm
from tests.registry_client.test_manifest import version

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "registry_client" / "build_contexts"
FILES = {"model.onnx": b"weights", "config/labels.txt": b"rose\n"}
LABELS = {"io.example.digest": "541f"}
LOGGED = datetime(2026, 11, 20, 8, 0, 0, 250_000, tzinfo=timezone.utc)
Downloading = Callable[..., Download]


@pytest.fixture
def downloaded(tmp_path: Path) -> Downloading:
    """Makes a download of some files into a directory."""

    def have(name: str = "model", files: Mapping[str, bytes] = FILES, number: str = "v7") -> Download:
        for path, content in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_bytes(content)
        entries = tuple(
            ManifestEntry(path, "x==", len(files[path]), DigestAlgorithm.MD5, None, None)
            for path in sorted(files)
        )
        known = version(version=number, created_at=LOGGED)
        return Download(tmp_path / name, known, Manifest(entries, "V2", "default"))

    return have


def tarred(directory: Path) -> bytes:
    """The directory as a sorted archive: bytes, modes and times, and nothing of who we are."""
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w") as archive:
        for path in [directory, *sorted(directory.rglob("*"))]:
            info = archive.gettarinfo(path, path.relative_to(directory).as_posix())
            info.type = tarfile.DIRTYPE if path.is_dir() else tarfile.REGTYPE  # Not a link of one to another.
            info.linkname, info.size = "", path.stat().st_size if path.is_file() else 0
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            archive.addfile(info, io.BytesIO(path.read_bytes()) if path.is_file() else None)
    return into.getvalue()


def names(directory: Path) -> list[str]:
    """All files in it."""
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


def test_a_context_has_all_that_a_build_takes(downloaded: Downloading, tmp_path: Path) -> None:
    """
    Dockerfile, server, what is ignored, and the model in its place; it lies beside the download.
    """
    into = write_build_context(ContextKind.ONNX, downloaded(), LABELS)

    assert into == tmp_path / "model.context"
    assert names(into) == sorted(
        ["Dockerfile", LISTING, "model/config/labels.txt", "model/model.onnx", *TEMPLATES[ContextKind.ONNX]]
    )
    assert (into / "model" / "model.onnx").read_bytes() == b"weights"
    dockerfile = (into / "Dockerfile").read_text(encoding="utf-8")
    assert 'ARG MODEL_FILE="model.onnx"\nARG MODEL_FILE' not in dockerfile
    assert '\nARG MODEL_FILE="model.onnx"\n' in dockerfile
    assert '\nARG MODEL_VERSION="v7"\n' in dockerfile
    assert dockerfile.endswith('\nLABEL io.example.digest="541f"\n')
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model.context"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_the_same_artifact_makes_the_same_bytes(downloaded: Downloading) -> None:
    """
    Wherever and whenever it is made: bytes, order, modes and times, those of the directories too.
    """
    first = write_build_context(ContextKind.ONNX, downloaded("a"), LABELS)
    second = downloaded("b")
    (second.directory / "model.onnx").chmod(0o600)
    umask = os.umask(0o077)
    try:
        again = write_build_context(ContextKind.ONNX, second, LABELS)
    finally:
        os.umask(umask)

    assert tarred(again) == tarred(first)
    assert {stat.S_IMODE(path.stat().st_mode) for path in first.rglob("*")} == {0o644, 0o755}
    assert {path.stat().st_mtime for path in [first, *first.rglob("*")]} == {int(LOGGED.timestamp())}


def test_a_models_bytes_are_on_the_disk_once(downloaded: Downloading) -> None:
    """
    The context shares them with the download: a model may be most of a runner's disk.
    """
    done = downloaded()
    into = write_build_context(ContextKind.ONNX, done, LABELS)

    assert (into / "model" / "model.onnx").samefile(done.directory / "model.onnx")


def test_a_file_that_others_share_is_copied(downloaded: Downloading, tmp_path: Path) -> None:
    """
    The time of a cache's file says when it was used, and is not for us to set.
    """
    done = downloaded()
    (tmp_path / "cached").hardlink_to(done.directory / "model.onnx")
    before = (tmp_path / "cached").stat().st_mtime_ns
    into = write_build_context(ContextKind.ONNX, done, LABELS)

    assert not (into / "model" / "model.onnx").samefile(tmp_path / "cached")
    assert (into / "model" / "model.onnx").read_bytes() == b"weights"
    assert (tmp_path / "cached").stat().st_mtime_ns == before


def test_another_version_takes_the_place_of_our_own(downloaded: Downloading, tmp_path: Path) -> None:
    """
    A self-hosted runner meets the context of the last job, and nothing of it stays.
    """
    write_build_context(ContextKind.ONNX, downloaded("a"), LABELS)
    newer = downloaded("b", {"best.onnx": b"better"}, "v8")
    newer.directory.rename(tmp_path / "newer")
    (tmp_path / "a").rename(tmp_path / "old")
    (tmp_path / "newer").rename(tmp_path / "a")
    newer = Download(tmp_path / "a", newer.version, newer.manifest)
    into = write_build_context(ContextKind.ONNX, newer, LABELS)

    assert into == tmp_path / "a.context"
    assert [name for name in names(into) if name.startswith("model/")] == ["model/best.onnx"]
    assert '\nARG MODEL_VERSION="v8"\n' in (into / "Dockerfile").read_text(encoding="utf-8")


def test_the_same_again_writes_nothing(downloaded: Downloading) -> None:
    """
    Not even a copy: the directory is the very one that was there.
    """
    done = downloaded()
    before = write_build_context(ContextKind.ONNX, done, LABELS).stat().st_ino

    assert write_build_context(ContextKind.ONNX, done, LABELS).stat().st_ino == before


@pytest.mark.parametrize("name", ["server.py", "model/model.onnx"])
def test_what_is_missing_is_written_again(downloaded: Downloading, name: str) -> None:
    """
    Somebody has tidied up: nothing of theirs is there, and the context is whole again.
    """
    done = downloaded()
    context = write_build_context(ContextKind.ONNX, done, LABELS)
    before = tarred(context)
    (context / name).unlink()

    assert tarred(write_build_context(ContextKind.ONNX, done, LABELS)) == before


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        pytest.param("notes.txt", Path.touch, id="new-file"),
        pytest.param("model.onnx", lambda path: path.write_text("weights"), id="name-of-ours"),
        pytest.param("model/mine.onnx", Path.touch, id="new-model"),
        pytest.param("Dockerfile", lambda path: path.write_text("FROM mine"), id="edited"),
        pytest.param("model/model.onnx", lambda path: path.write_text("other"), id="edited-model"),
        pytest.param("server.py", a_directory, id="directory"),
        pytest.param(LISTING, Path.unlink, id="no-listing"),
        pytest.param(LISTING, lambda path: path.write_text("[]"), id="listing-of-another"),
    ],
)
def test_what_we_did_not_write_is_not_overwritten(
    downloaded: Downloading, name: str, spoil: Callable[[Path], object]
) -> None:
    """
    Not a file beside ours, nor one of ours that somebody has changed; nothing is touched.
    """
    done = downloaded()
    context = write_build_context(ContextKind.ONNX, done, LABELS)
    spoil(context / name)
    before = tarred(context)

    for number in ("v7", "v8"):
        other = Download(done.directory, version(version=number, created_at=LOGGED), done.manifest)
        with pytest.raises(TargetError, match="never overwritten"):
            write_build_context(ContextKind.ONNX, other, LABELS)
    assert tarred(context) == before


def test_a_file_of_theirs_in_its_place_is_left(downloaded: Downloading, tmp_path: Path) -> None:
    """
    A file, or a link to somewhere else.
    """
    done = downloaded()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "model.context").symlink_to(tmp_path / "theirs")
    with pytest.raises(TargetError, match="symbolic link"):
        write_build_context(ContextKind.ONNX, done, LABELS)

    assert list((tmp_path / "theirs").iterdir()) == []


def test_it_appears_whole_or_not_at_all(
    downloaded: Downloading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A try that ends in the middle leaves no context, and the next one is not confused by what it left.
    """
    done = downloaded()
    with monkeypatch.context() as patched:
        patched.setattr(module, "_settle", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write_build_context(ContextKind.ONNX, done, LABELS)
    assert not (tmp_path / "model.context").exists()

    into = write_build_context(ContextKind.ONNX, done, LABELS)
    assert len(names(into)) == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model.context"]


@pytest.mark.parametrize(
    ("kind", "paths", "served"),
    [
        (ContextKind.ONNX, ["a/b.ONNX", "b.txt"], "a/b.ONNX"),
        (ContextKind.ONNX, ["model.onnx", "a/model.onnx", "b.onnx"], "model.onnx"),
        (ContextKind.TORCHSERVE, ["model.pt", "optimizer.pt", "sample.json"], "model.pt"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else None,
)
def test_the_file_to_serve_is_found(kind: ContextKind, paths: list[str], served: str) -> None:
    """
    The only one of its kind, or the one named model at the top.
    """
    assert recipe(kind, paths, "v1", {}).model_file == served


@pytest.mark.parametrize(
    ("kind", "paths", "told"),
    [
        (ContextKind.ONNX, ["a.onnx", "b.onnx"], r"a\.onnx, b\.onnx: name the one"),
        (ContextKind.ONNX, ["a/model.onnx", "b/model.onnx"], "leave the others out"),
        (ContextKind.ONNX, ["model.pt"], r"none among model\.pt"),
        (ContextKind.ONNX, [f"{number}.bin" for number in range(9)], r"4\.bin and 4 more"),
        (ContextKind.ONNX, [], "none among its files"),
        (ContextKind.TORCHSERVE, ["model.pt"], r"but sample\.json is not among model\.pt"),
        (ContextKind.TORCHSERVE, ["a/model.pt"], r"but model\.pt and sample\.json is not"),
    ],
    ids=["two", "two-named-model", "none", "none-of-many", "empty", "no-sample", "deep"],
)
def test_what_cannot_be_served_is_said(kind: ContextKind, paths: list[str], told: str) -> None:
    """
    With the names that are there, and what to do.
    """
    with pytest.raises(BuildContextError, match=told):
        recipe(kind, paths, "v1", {})


def test_a_dockerfile_expands_nothing_of_ours() -> None:
    """
    Names in W&B may hold quotes, dollars and backslashes; a line end would be another instruction.
    """
    assert quoted('a "b" $HOME \\ {{c}}\nRUN evil') == r'"a \"b\" \$HOME \\ {{c}}RUN evil"'


@pytest.mark.parametrize("kind", [kind for kind in ContextKind if kind is not ContextKind.NONE])
def test_every_file_of_a_template_gets_in(kind: ContextKind) -> None:
    """
    The table, the folder, and what its .dockerignore lets through are of one mind.
    """
    folder = TEMPLATE / kind.value
    there = {path.name for path in folder.iterdir() if path.is_file() and path.suffix != ".in"}
    assert there == {"Dockerfile", *TEMPLATES[kind]}

    ignored = (folder / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    assert ignored[1] == "*"
    assert let_in == {*TEMPLATES[kind], "model"} - {".dockerignore"}
    text = (folder / "Dockerfile").read_text(encoding="utf-8")
    assert "\nFROM scratch AS model\nCOPY model/ /\n" in text
    assert re.search(r"^ARG MODEL_VERSION=", text, re.MULTILINE)
    assert all("@sha256:" in base for base in re.findall(r"^(?:FROM|ARG BASE=).*:.*", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("kind", "example"),
    [(ContextKind.ONNX, "onnx-fastapi"), (ContextKind.TORCHSERVE, "torchserve-kubernetes")],
    ids=str,
)
def test_a_template_is_its_example(kind: ContextKind, example: str) -> None:
    """
    What the Action writes is what the example shows; whoever changes one, copies it to the other.
    """
    serving = ROOT / "examples" / example / "serving"
    for name in ("Dockerfile", *TEMPLATES[kind]):
        assert (TEMPLATE / kind.value / name).read_bytes() == (serving / name).read_bytes(), name
