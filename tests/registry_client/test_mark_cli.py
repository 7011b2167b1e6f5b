"""`handoff mark`, as its parser runs it."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from registry_client.cli import add_commands
from registry_client.report import HEADER, signature
from tests.stand_ins.endpoints import Endpoint, Said
from tests.stand_ins.wandb import Membership, WandbStandIn

SOURCE = "acme/training/flower"
LINKED = "acme-org/wandb-registry-model/Flower"


@dataclass(frozen=True)
class Printed:
    """What a command left behind."""

    code: int
    out: str
    err: str


Handoff = Callable[..., Printed]


@pytest.fixture
def flower(wandb: WandbStandIn) -> Membership:
    return wandb.link(wandb.log_artifact(SOURCE, {"a": b"1"}), LINKED, ["production"])


@pytest.fixture
def handoff(wandb: WandbStandIn, flower: Membership) -> Handoff:
    """The command, for that version."""
    parser = argparse.ArgumentParser(prog="handoff")
    add_commands(parser.add_subparsers(required=True))
    environ = {"WANDB_BASE_URL": wandb.url, "WANDB_API_KEY": wandb.api_key}

    def run(*arguments: str, **more: str) -> Printed:
        args = parser.parse_args(["mark", flower.name, *arguments])
        out, err = io.StringIO(), io.StringIO()
        return Printed(args.run(args, environ | more, out, err), out.getvalue(), err.getvalue())

    return run


def test_it_says_what_the_version_got(handoff: Handoff, flower: Membership) -> None:
    """
    A line for each; the second time there is nothing to do.
    """
    wanted = (
        "--alias",
        "deployed",
        "--alias",
        "eu west",
        "--tag",
        "serving",
        "--metadata",
        "image=sha256:ab",
    )

    first, second = handoff(*wanted), handoff(*wanted)

    lines = ["alias deployed", "alias eu west", "tag serving", "metadata image"]
    assert (first.code, first.out) == (0, "".join(f"{LINKED}:v0 got {line}\n" for line in lines))
    assert (second.code, second.out) == (0, f"{LINKED}:v0 carries all of that already\n")
    assert flower.aliases == ["latest", "production", "deployed", "eu west"]


def test_a_dry_run_changes_nothing(handoff: Handoff, flower: Membership) -> None:
    """
    And says what would be, for programs too.
    """
    said = handoff("--remove-alias", "production", "--dry-run")
    told = handoff("--remove-alias", "production", "--dry-run", "--json")

    assert said.out == f"{LINKED}:v0 would get no alias production\n"
    assert json.loads(told.out) == {
        "artifact": f"{LINKED}:v0",
        "id": flower.id,
        "changed": ["no alias production"],
        "dry_run": True,
    }
    assert flower.aliases == ["latest", "production"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "there is nothing to write: want --alias, --remove-alias"),
        (("--alias", "v3"), 2, "'v3' is a version"),
        (("--alias", "x", "--receiver", "nowhere"), 2, "--receiver: want the receiver's URL"),
        (("--alias", "x", "--receiver", "http://127.0.0.1:9"), 2, "wants HANDOFF_REPORT_SECRET"),
        (("--alias", "x", "--expect-alias", "staging"), 7, "does not carry the alias 'staging'"),
        (("--alias", "x", "--expect-digest", "ab" * 16), 10, "has the digest"),
    ],
)
def test_what_is_asked_wrongly(
    handoff: Handoff, flower: Membership, arguments: tuple[str, ...], code: int, words: str
) -> None:
    """
    Is told with its own exit code, and nothing is changed.
    """
    said = handoff(*arguments)

    assert words in said.err
    assert said.code == code
    assert flower.aliases == ["latest", "production"]


def test_a_receiver_is_told_first(handoff: Handoff, flower: Membership, wandb: WandbStandIn) -> None:
    """
    So that it dispatches nothing for what a person writes with this command.
    """
    seen: list[list[str]] = []

    def answer(_: object) -> Said:
        seen.append(list(flower.aliases))
        return Said(200, b'{"status": "unknown"}')

    with Endpoint(answer) as receiver:
        said = handoff("--alias", "deployed", "--receiver", receiver.url, HANDOFF_REPORT_SECRET="shared")

    [arrived] = receiver.arrived
    assert (said.code, seen) == (0, [["latest", "production"]])
    assert arrived.path == "/reports"
    assert arrived.headers[HEADER.lower()] == signature(arrived.body, b"shared")
    assert (arrived.json["state"], arrived.json["marks"]) == (
        "marking",
        [{"collection": "wandb-registry-model/Flower", "name": "alias:deployed"}],
    )
    assert "deployed" in flower.aliases
    assert wandb.executions == []


def test_a_receiver_that_refuses_stops_it(handoff: Handoff, flower: Membership) -> None:
    """
    Before anything is written.
    """
    with Endpoint(lambda _: Said(401, b'{"message": "no"}')) as receiver:
        said = handoff("--alias", "deployed", "--receiver", receiver.url, HANDOFF_REPORT_SECRET="wrong")

    assert (said.code, flower.aliases) == (3, ["latest", "production"])
    assert "HANDOFF_REPORT_SECRET" in said.err
