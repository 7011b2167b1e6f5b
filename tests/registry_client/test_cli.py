"""`handoff resolve`, `list`, `download` and `cat`, as their parser runs them."""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry_client.cli import add_commands
from tests.stand_ins.wandb import Run, WandbStandIn

FLOWER = "acme/vision/flower"
LINKED = "acme-org/wandb-registry-model/Flower"
FILES = {"labels.txt": b"cat dog", "weights.bin": bytes(5000)}


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str


Handoff = Callable[..., Said]


@pytest.fixture
def handoff(wandb: WandbStandIn) -> Handoff:
    parser = argparse.ArgumentParser(prog="handoff")
    add_commands(parser.add_subparsers(required=True))
    environ = {"WANDB_BASE_URL": wandb.url, "WANDB_API_KEY": wandb.api_key}

    def run(*arguments: object, **more: str) -> Said:
        args = parser.parse_args([str(each) for each in arguments])
        raw, err = io.BytesIO(), io.StringIO()
        out = io.TextIOWrapper(raw, encoding="utf-8", newline="\n")
        code = args.run(args, environ | more, out, err)
        out.flush()
        return Said(code, raw.getvalue().decode("utf-8", "surrogateescape"), err.getvalue())

    return run


def test_resolve_prints_what_a_person_wants_to_know(wandb: WandbStandIn, handoff: Handoff) -> None:
    """
    One line each, the names in a column of their own.
    """
    logged = wandb.log_artifact(
        FLOWER,
        FILES,
        metadata={"accuracy": 0.93, "classes": ["cat", "Köter"]},
        tags=["audited"],
        description="Tells cats from dogs.\nAnd more.",
    )
    wandb.link(logged, LINKED, ["production"])

    said = handoff("resolve", f"{LINKED}:production")

    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[:8] == [
        f"{LINKED}:v0",
        f"  id          {logged.id}",
        f"  logged as   {FLOWER}:v0",
        "  type        model",
        f"  digest      MD5 {logged.digest}",
        "  aliases     latest, production",
        "  tags        audited",
        "  size        5.0 kB in 2 files",
    ]
    assert lines[8].startswith("  created     20")
    assert lines[9:13] == [
        "  by          ana",
        "  about       Tells cats from dogs.",
        "  metadata    accuracy: 0.93",
        '  metadata    classes: ["cat", "Köter"]',
    ]
    assert lines[13].startswith(f"  page        {wandb.url}/orgs/Acme%20Inc/")


def test_resolve_prints_json(wandb: WandbStandIn, handoff: Handoff) -> None:
    """
    One object, for programs.
    """
    logged = wandb.log_artifact(FLOWER, FILES, metadata={"accuracy": 0.93}, algorithm="XXH128")

    said = json.loads(handoff("resolve", f"{FLOWER}:latest", "--json").out)

    assert said.pop("created_at").endswith("+00:00")
    assert said == {
        "artifact": f"{FLOWER}:v0",
        "id": logged.id,
        "entity": "acme",
        "project": "vision",
        "collection": "flower",
        "version": "v0",
        "source": f"{FLOWER}:v0",
        "type": "model",
        "digest": logged.digest,
        "digest_algorithm": "XXH128",
        "aliases": ["latest"],
        "tags": [],
        "metadata": {"accuracy": 0.93},
        "description": None,
        "size": 5007,
        "file_count": 2,
        "source_run": None,
        "created_by": "ana",
        "url": f"{wandb.url}/acme/vision/artifacts/model/flower/v0",
    }


def test_resolve_names_the_run(wandb: WandbStandIn, handoff: Handoff) -> None:
    """
    With its commit, for a person and for programs.
    """
    run = Run("abc123", commit="c0ffee")
    wandb.log_artifact(FLOWER, FILES, run=run)

    assert "(acme/vision/abc123, commit c0ffee)\n" in handoff("resolve", f"{FLOWER}:v0").out
    told = json.loads(handoff("resolve", f"{FLOWER}:v0", "--json").out)["source_run"]
    assert (told["path"], told["commit"]) == ("acme/vision/abc123", "c0ffee")


def test_a_terminal_is_not_commanded_from_wandb(wandb: WandbStandIn, handoff: Handoff) -> None:
    """
    Escape sequences in a description or a key of the metadata are shown, not obeyed.
    """
    wandb.log_artifact(FLOWER, FILES, description="\x1b]0;evil\x07", metadata={"\x1b[2J": 1})

    said = handoff("resolve", f"{FLOWER}:latest")

    assert "  about       \\x1b]0;evil\\x07\n" in said.out
    assert "\x1b" not in said.out


def test_a_terminal_is_not_commanded_by_an_error(wandb: WandbStandIn, handoff: Handoff) -> None:
    """
    An error repeats what W&B said; its own lines stay lines.
    """
    wandb.faults.add("graphql:VersionByName", body=b'{"errors": ["\\u001b[2Jdenied"]}')

    said = handoff("resolve", f"{FLOWER}:latest")

    assert (said.code, said.err.count("\n")) == (3, 1)
    assert "\\x1b[2Jdenied" in said.err


def test_download_says_where_the_files_are(wandb: WandbStandIn, handoff: Handoff, tmp_path: Path) -> None:
    """
    Progress goes to stderr, the result to stdout.
    """
    wandb.log_artifact(FLOWER, FILES)

    said = handoff("download", f"{FLOWER}:v0", tmp_path / "model")

    assert said.code == 0
    assert said.out == f"{FLOWER}:v0 is in {tmp_path / 'model'}: 2 files, 5.0 kB, every byte verified\n"
    assert said.err.startswith("Downloading 2 files, 5.0 kB\nDownloaded and verified 2 of 2 files")
    assert (tmp_path / "model" / "labels.txt").read_bytes() == b"cat dog"


def test_download_can_be_quiet_and_print_json(
    wandb: WandbStandIn, handoff: Handoff, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The object of resolve, the whole paths, and what came over the network.
    """
    monkeypatch.chdir(tmp_path)
    wandb.log_artifact(FLOWER, FILES)

    said = handoff("download", f"{FLOWER}:v0", "model", "--json", "--quiet", "--concurrency", "1")

    assert (said.code, said.err) == (0, "")
    assert json.loads(said.out)["path"] == str(tmp_path / "model")
    assert json.loads(said.out)["artifact"] == f"{FLOWER}:v0"
    assert json.loads(said.out)["provenance"] == str(tmp_path / "model.provenance.json")
    assert json.loads(said.out)["references"] is None
    assert (json.loads(said.out)["fetched"], json.loads(said.out)["reused"]) == (5007, 0)


def test_download_takes_what_is_here(wandb: WandbStandIn, handoff: Handoff, tmp_path: Path) -> None:
    """
    From the directory, or from the cache that the SDK's variable names; `none` is no cache.
    """
    wandb.log_artifact(FLOWER, FILES)

    def reused(directory: str, *more: str) -> int:
        said = handoff(
            "download", f"{FLOWER}:v0", tmp_path / directory, "--json", *more, WANDB_CACHE_DIR=cache
        )
        assert said.code == 0, said.err
        return int(json.loads(said.out)["reused"])

    limited = ("--cache-dir", str(tmp_path / "small"), "--cache-size", "10B")
    cache = str(tmp_path / "cache")
    assert [reused("a"), reused("a"), reused("b"), reused("c", "--cache-dir", "none")] == [0, 5007, 5007, 0]
    assert [reused("d", *limited), reused("e", *limited)] == [0, 7]


def test_download_selects(wandb: WandbStandIn, handoff: Handoff, tmp_path: Path) -> None:
    """
    Each glob has an option of its own.
    """
    wandb.log_artifact(FLOWER, {"a.txt": b"a", "b.txt": b"b", "c.bin": b"c", "d": b"d"})

    globs = ("--include", "*.txt", "--include", "*.bin", "--exclude", "a.*")
    said = handoff("download", f"{FLOWER}:v0", tmp_path / "model", *globs)

    assert said.code == 0, said.err
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["b.txt", "c.bin"]


def test_download_replaces_when_told(wandb: WandbStandIn, handoff: Handoff, tmp_path: Path) -> None:
    """
    And only then.
    """
    wandb.log_artifact(FLOWER, FILES)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").write_bytes(b"x")

    refused = handoff("download", f"{FLOWER}:v0", tmp_path / "model")
    assert (refused.code, "--replace" in refused.err) == (11, True)
    assert handoff("download", f"{FLOWER}:v0", tmp_path / "model", "--replace").code == 0
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == sorted(FILES)


def test_download_lists_what_lies_elsewhere(wandb: WandbStandIn, handoff: Handoff, tmp_path: Path) -> None:
    """
    When told to; otherwise it is an error.
    """
    elsewhere = {"big": {"ref": "s3://bucket/big", "digest": "an-etag", "size": 5}}
    wandb.log_artifact(FLOWER, FILES, references=elsewhere)

    assert handoff("download", f"{FLOWER}:v0", tmp_path / "model").code == 9
    said = handoff("download", f"{FLOWER}:v0", tmp_path / "model", "--references", "list", "--json")

    assert said.code == 0, said.err
    listed = json.loads(Path(json.loads(said.out)["references"]).read_text(encoding="utf-8"))["references"]
    assert [each["url"] for each in listed] == ["s3://bucket/big"]


def test_list_shows_the_files(wandb: WandbStandIn, handoff: Handoff) -> None:
    """
    For a person and for programs, without a file being fetched; what a glob means can be seen.
    """
    wandb.log_artifact(FLOWER, FILES)

    lines = handoff("list", f"{FLOWER}:v0").out.splitlines()
    assert [line.split() for line in lines[:2]] == [
        ["7", "bytes", "labels.txt"],
        ["5.0", "kB", "weights.bin"],
    ]
    assert "2 files" in lines[2]
    told = json.loads(handoff("list", f"{FLOWER}:v0", "--json", "--include", "*.txt").out)
    assert [each["path"] for each in told["files"]] == ["labels.txt"]
    assert not [each for each in wandb.requests if (each.target or "").startswith("file:")]


@pytest.mark.parametrize("command", ["list", "cat"])
def test_a_manifest_of_another_version_is_refused(
    wandb: WandbStandIn, handoff: Handoff, command: str
) -> None:
    """
    No name is listed, and no byte written, that the version's digest does not vouch for.
    """
    other = wandb.log_artifact("acme/vision/other", {"labels.txt": b"cat dot"})
    wandb.log_artifact(FLOWER, {"labels.txt": b"cat dog"})
    wandb.faults.add("manifest", times=None, body=other.artifact.manifest_file)

    said = handoff(command, f"{FLOWER}:v0", *(["labels.txt"] if command == "cat" else []))

    assert (said.code, said.out) == (8, "")
    assert "the manifest is not that of" in said.err


class TestCat:
    """One file, to the standard output."""

    def test_it_is_the_file_and_nothing_else(self, wandb: WandbStandIn, handoff: Handoff) -> None:
        """
        Bytes as they are.
        """
        content = bytes(range(256)) + b"\r\n"
        wandb.log_artifact(FLOWER, {"a b": content})

        said = handoff("cat", f"{FLOWER}:v0", "a b")

        assert (said.code, said.err) == (0, "")
        assert said.out.encode("utf-8", "surrogateescape") == content

    def test_a_pointer_into_another_artifact_is_followed(self, wandb: WandbStandIn, handoff: Handoff) -> None:
        """
        And proven as its own file would be.
        """
        other = wandb.log_artifact("acme/vision/base", {"deep/labels": b"cat dog"})
        target = base64.b64decode(other.id).hex()
        digest = base64.b64encode(hashlib.md5(b"cat dog", usedforsecurity=False).digest()).decode()
        pointer = {"ref": f"wandb-artifact://{target}/deep/labels", "digest": digest, "size": 7}
        wandb.log_artifact(FLOWER, FILES, references={"labels": pointer})

        assert handoff("cat", f"{FLOWER}:v0", "labels").out == "cat dog"

    def test_wrong_bytes_do_not_come_out(self, wandb: WandbStandIn, handoff: Handoff) -> None:
        """
        The exit code says so.
        """
        wandb.log_artifact(FLOWER, FILES)
        wandb.faults.add("file:labels.txt", times=None, flip_byte=3)

        said = handoff("cat", f"{FLOWER}:v0", "labels.txt")

        assert (said.code, said.out) == (10, "")
        assert said.err.startswith("handoff: verification-failed: labels.txt: ")

    def test_what_lies_where_we_cannot_fetch_it_is_told(self, wandb: WandbStandIn, handoff: Handoff) -> None:
        """
        With where it lies.
        """
        elsewhere = {"big": {"ref": "ftp://files.test/big", "digest": "an-etag", "size": 5}}
        wandb.log_artifact(FLOWER, FILES, references=elsewhere)

        said = handoff("cat", f"{FLOWER}:v0", "big")

        assert (said.code, said.out) == (9, "")
        assert "ftp://files.test/big" in said.err

    def test_what_needs_an_sdk_is_told(
        self, wandb: WandbStandIn, handoff: Handoff, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        With what to install.
        """
        monkeypatch.setitem(sys.modules, "boto3", None)
        elsewhere = {"big": {"ref": "s3://bucket/big", "digest": "an-etag", "size": 5}}
        wandb.log_artifact(FLOWER, FILES, references=elsewhere)

        said = handoff("cat", f"{FLOWER}:v0", "big")

        assert (said.code, said.out) == (9, "")
        assert "wandb-handoff[s3]" in said.err


@pytest.mark.parametrize(
    ("arguments", "environ", "code", "line"),
    [
        (["resolve", "flower"], {}, 2, "handoff: invalid-reference: 'flower' names no version"),
        (
            ["resolve", "a/b/c:v0"],
            {"WANDB_BASE_URL": "wandb.ai"},
            2,
            "handoff: configuration: WANDB_BASE_URL",
        ),
        (["resolve", "a/b/c:v0"], {"WANDB_API_KEY": "short"}, 2, "handoff: configuration: the W&B key in"),
        (["resolve", "a/b/c:v0"], {"WANDB_API_KEY": "f" * 40}, 3, "handoff: access-denied: 127.0.0.1"),
        (["resolve", f"{FLOWER}:v9"], {}, 4, f"handoff: not-found: {FLOWER} has no version or alias 'v9'"),
        (["resolve", f"{FLOWER}:v0", "--expect-alias", "x"], {}, 7, f"handoff: alias-moved: {FLOWER}:v0"),
        (["download", f"{FLOWER}:v0", "."], {}, 11, "handoff: target: . is the current directory"),
        (
            ["download", f"{FLOWER}:v0", "m", "--concurrency", "0"],
            {},
            2,
            "handoff: configuration: concurrency",
        ),
        (["download", f"{FLOWER}:v0", "m", "--expect-alias", "x"], {}, 7, "handoff: alias-moved"),
        (
            ["download", f"{FLOWER}:v0", "m", "--expect-digest", "0" * 32],
            {},
            10,
            f"handoff: verification-failed: {FLOWER}:v0 has the digest",
        ),
        (
            ["resolve", f"{FLOWER}:v0", "--expect-digest", "54"],
            {},
            2,
            "handoff: configuration: --expect-digest",
        ),
        (
            ["download", f"{FLOWER}:v0", "m", "--max-size", "5kB"],
            {},
            14,
            "handoff: too-large: the files have 5,007",
        ),
        (["download", f"{FLOWER}:v0", "m", "--max-size", "5x"], {}, 2, "handoff: configuration: --max-size"),
        (
            ["download", f"{FLOWER}:v0", "m", "--cache-size", "x"],
            {},
            2,
            "handoff: configuration: --cache-size",
        ),
        (["download", f"{FLOWER}:v0", "m", "--include", "*.gz"], {}, 2, "handoff: configuration: include"),
        (["list", f"{FLOWER}:v0", "--exclude", "../x"], {}, 2, "handoff: configuration: the pattern"),
        (["cat", f"{FLOWER}:v0", "labels"], {}, 4, f"handoff: not-found: {FLOWER}:v0 has no file 'labels'"),
    ],
)
def test_errors_are_a_line_and_an_exit_code(  # noqa: PLR0917 - fixtures and cases
    wandb: WandbStandIn,
    handoff: Handoff,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environ: dict[str, str],
    code: int,
    line: str,
) -> None:
    """
    The reason comes first, nothing goes to stdout, nothing is left behind.
    """
    monkeypatch.chdir(tmp_path)
    wandb.log_artifact(FLOWER, FILES)

    said = handoff(*arguments, **environ)

    assert (said.code, said.out) == (code, "")
    assert said.err.startswith(line)
    assert wandb.api_key not in said.err
    assert list(tmp_path.iterdir()) == []


def test_sigterm_leaves_nothing(wandb: WandbStandIn, handoff: Handoff, tmp_path: Path) -> None:
    """
    A runner that cancels a job sends it: what is half done is removed first.
    """
    wandb.log_artifact(FLOWER, {"a": b"aaa"})
    terminate = threading.Timer(0.2, lambda: signal.pthread_kill(main, signal.SIGTERM))
    main = threading.main_thread().ident or 0
    wandb.faults.add("file:a", cut_after=1, stall=60, then=terminate.start)

    with pytest.raises(SystemExit) as caught:
        handoff("download", f"{FLOWER}:v0", tmp_path / "model", "--quiet")

    assert caught.value.code == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_help_names_the_environment(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Where the key comes from is one question away.
    """
    parser = argparse.ArgumentParser(prog="handoff")
    add_commands(parser.add_subparsers())

    with pytest.raises(SystemExit):
        parser.parse_args(["download", "--help"])

    told = capsys.readouterr().out
    assert "WANDB_API_KEY" in told
    assert "WANDB_IDENTITY_TOKEN_FILE" in told
