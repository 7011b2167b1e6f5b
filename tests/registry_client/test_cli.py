"""`handoff resolve` and `handoff download`, as their parser runs them."""

from __future__ import annotations

import argparse
import io
import json
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry_client.cli import add_commands, sigterm_unwinds
from tests.stand_ins.wandb import WandbStandIn

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
        out, err = io.StringIO(), io.StringIO()
        return Said(args.run(args, environ | more, out, err), out.getvalue(), err.getvalue())

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
    assert lines[9:12] == [
        "  about       Tells cats from dogs.",
        "  metadata    accuracy: 0.93",
        '  metadata    classes: ["cat", "Köter"]',
    ]
    assert lines[12].startswith(f"  page        {wandb.url}/orgs/Acme%20Inc/")


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
        "url": f"{wandb.url}/acme/vision/artifacts/model/flower/v0",
    }


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
    The object of resolve, and the whole path.
    """
    monkeypatch.chdir(tmp_path)
    wandb.log_artifact(FLOWER, FILES)

    said = handoff("download", f"{FLOWER}:v0", "model", "--json", "--quiet", "--concurrency", "1")

    assert (said.code, said.err) == (0, "")
    assert json.loads(said.out)["path"] == str(tmp_path / "model")
    assert json.loads(said.out)["artifact"] == f"{FLOWER}:v0"


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


def test_signals_are_left_alone_outside_the_main_thread() -> None:
    """
    Only the main thread may handle them; elsewhere the block runs as it is.
    """
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def run() -> None:
        with sigterm_unwinds():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert seen == [before]


def test_help_names_the_environment(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Where the key comes from is one question away.
    """
    parser = argparse.ArgumentParser(prog="handoff")
    add_commands(parser.add_subparsers())

    with pytest.raises(SystemExit):
        parser.parse_args(["download", "--help"])

    assert "WANDB_API_KEY" in capsys.readouterr().out
