"""A whole receiver with routes, in a world that is not as it should be."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from werkzeug.test import Client, TestResponse

from receiver import close_app, configure, create_app, reload_app
from receiver.config import Config
from receiver.delivery import DispatchRecord, DispatchState
from receiver.dispatch import DispatchKind
from receiver.ledger import Ledger
from receiver.signature import HEADER, sign
from tests.receiver.served import serving
from tests.receiver.test_routes_served import wait_for
from tests.receiver.web_fakes import SECRET, body
from tests.stand_ins.endpoints import Endpoint, SlackStandIn
from tests.stand_ins.endpoints.endpoint import Said
from tests.stand_ins.endpoints.slack import everything_read
from tests.stand_ins.github import GitHubStandIn, Workflow
from tests.stand_ins.wandb import WandbStandIn
from tests.stand_ins.wandb.state import Membership

TOKEN = "github_pat_for_tests_0123456789"
PLACE = "acme/wandb-registry-model"
HEAD = """
sources:
  wandb: {{secrets: [{{env: WANDB_WEBHOOK_SECRET}}]}}
  vision: {{secrets: [{{env: VISION_SECRET}}], entities: [vision]}}
github: {{token: {{env: GITHUB_TOKEN}}, api_url: "{github}", budget: "off"}}
wandb: {{api_key: {{env: WANDB_API_KEY}}, base_url: "{wandb}", verify: required}}
channels:
  ml-slack: {{slack: {{env: SLACK}}, on: [accepted, failed, outdated]}}
routes:
"""
VISION_SECRET = "vision-secret-for-tests"


class World:
    """A receiver, and W&B, GitHub, Slack and an endpoint beside it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.wandb = stack.enter_context(WandbStandIn())
        self.github = stack.enter_context(GitHubStandIn())
        self.slack = stack.enter_context(SlackStandIn())
        self.endpoint = stack.enter_context(Endpoint())
        for name in ("acme/serving", "acme/nature"):
            self.github.add_repository(name, workflows=(Workflow("a.yml", types=("BUILD",)),))
        permissions = {"contents": "write", "actions": "write", "metadata": "read"}
        repositories = ("acme/serving", "acme/nature")
        self.github.add_token(TOKEN, repositories=repositories, permissions=permissions)
        self.config = folder / "handoff.yaml"
        self.head = HEAD.format(github=self.github.url, wandb=self.wandb.url)
        self.database_url = f"sqlite:///{folder}/handoff.db"
        self.environ = {
            "WANDB_WEBHOOK_SECRET": SECRET,
            "VISION_SECRET": VISION_SECRET,
            "WANDB_API_KEY": self.wandb.api_key,
            "GITHUB_TOKEN": TOKEN,
            "SLACK": self.slack.url,
            "HANDOFF_DATABASE_URL": self.database_url,
        }
        self.app: Flask | None = None

    def write(self, routes: str) -> None:
        """Make these the routes of the file."""
        self.config.write_text(self.head + routes.replace("ENDPOINT", self.endpoint.url))

    def start(self, routes: str) -> None:
        """Have a receiver work with these routes."""
        self.write(routes)
        read = self._read
        self.app = create_app(read(), reread=read)

    def _read(self) -> Config:
        return configure(self.environ, str(self.config))

    def stop(self) -> None:
        """End it."""
        if self.app is not None:
            close_app(self.app)
            self.app = None

    def reload(self, routes: str) -> bool:
        """Have it work with other routes."""
        assert self.app is not None
        self.write(routes)
        return reload_app(self.app)

    def version(self, name: str = "nature", **metadata: object) -> Membership:
        """A new version, linked."""
        logged = self.wandb.log_artifact(
            f"acme/train/{name}", {"m": str(metadata).encode()}, metadata=metadata
        )
        return self.wandb.link(logged, f"{PLACE}/{name}")

    def promote(self, name: str = "nature", **metadata: object) -> Membership:
        """A new version in production."""
        version = self.version(name, **metadata)
        self.wandb.add_alias(f"{PLACE}/{name}", version, "production")
        return version

    def post(
        self, version: Membership, secret: str = SECRET, door: str = "wandb", **told: str
    ) -> TestResponse:
        """Tell of it, as whoever knows the secret may."""
        assert self.app is not None
        raw, headers = self.signed(version, secret, **told)
        return Client(self.app).post(f"/webhooks/{door}", data=raw, headers=headers)

    def signed(self, version: Membership, secret: str = SECRET, **told: str) -> tuple[bytes, dict[str, str]]:
        """The body and headers of a webhook."""
        fields = {
            "event_type": "ADD_ARTIFACT_ALIAS",
            "event_author": "ana",
            "alias": "production",
            "artifact_version": f"wandb-artifact://_id/{version.artifact.id}",
            "artifact_collection_name": "nature",
            "project_name": "wandb-registry-model",
            "entity_name": "acme",
            **told,
        }
        raw = body({name: text for name, text in fields.items() if text})
        return raw, {HEADER: sign(raw, secret.encode())}

    def records(self, *, notices: bool = False) -> list[DispatchRecord]:
        """All dispatches, the oldest delivery first."""
        with Ledger.read_only(self.database_url) as ledger:
            every = [each for one in reversed(ledger.deliveries(limit=50)) for each in one.dispatches]
        return [each for each in every if (each.kind is DispatchKind.NOTICE) is notices]

    def ended(self, count: int = 1) -> list[DispatchRecord]:
        """So many dispatches, once they have all ended."""
        open_ = {DispatchState.PENDING, DispatchState.SENDING}

        def look() -> list[DispatchRecord]:
            found = self.records()
            return found if len(found) == count and not any(each.state in open_ for each in found) else []

        found: list[DispatchRecord] = wait_for(look, "it does not end")
        return found

    def heard(self) -> str:
        """All that Slack shows."""
        return "\n".join(" ".join(everything_read(post)) for post in self.slack.posts)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """It, stopped in the end."""
    with ExitStack() as stack:
        world = World(tmp_path, stack)
        stack.callback(world.stop)
        yield world
    assert world.github.violations == []


DEPLOY = """
  - name: deploy
    when: {event: ADD_ARTIFACT_ALIAS, artifact: acme/wandb-registry-model/*, alias: production}
    dispatch: {repository: acme/serving, event_type: BUILD}
"""
POST = """
  - name: call
    when: {alias: production}
    ambiguous: hold
    post: {url: "ENDPOINT", allow_private: true}
"""


def test_the_first_match_is_wandbs_to_say(world: World) -> None:
    """
    Of routes that end the list, the one is taken whose metadata fits, however good the others look.
    """
    world.start("""
  - name: good
    when: {artifact: acme/wandb-registry-model/*, metadata.accuracy: ">= 0.9"}
    dispatch: {repository: acme/serving, event_type: BUILD}
    continue: false
  - name: poor
    when: {artifact: acme/wandb-registry-model/*, metadata.accuracy: "< 0.9"}
    dispatch: {repository: acme/nature, event_type: BUILD}
    continue: false
  - name: unknown
    when: {artifact: acme/wandb-registry-model/*}
    dispatch: {repository: acme/nature, event_type: BUILD}
""")
    for number, accuracy in enumerate((0.95, 0.5, "NaN"), start=1):
        world.post(world.promote(accuracy=accuracy))
        world.ended(3 * number)

    taken = [each.route for each in world.records() if each.state is DispatchState.SENT]
    assert taken == ["good", "poor", "unknown"]
    others = {each.state for each in world.records()} - {DispatchState.SENT}
    assert others == {DispatchState.UNWANTED}


def test_text_from_outside_is_no_template(world: World) -> None:
    """
    Names and metadata that look like ours are sent as they are; one that would lead elsewhere is not sent.
    """
    world.start("""
  - name: evaluate
    when: {artifact: acme/wandb-registry-model/*}
    dispatch:
      repository: "acme/${artifact.collection}"
      event_type: BUILD
      client_payload: {note: "${metadata.note}", text: "<${metadata.note}>", who: "${event.author}"}
""")
    note = "${metadata.secret} ${payload.alias} $${"
    world.post(world.promote(note=note, secret="s"), event_author="$(id) `id` {{7*7}}")
    (sent,) = world.ended()
    assert sent.client_payload["note"] == note
    assert sent.client_payload["text"] == f"<{note}>"
    assert sent.client_payload["who"] == "$(id) `id` {{7*7}}"

    world.post(world.promote(note="n"), artifact_collection_name="../../other/repo")
    world.post(world.promote(note="n"), artifact_collection_name="nature?x")
    assert len(world.github.dispatches) == 1
    assert {each.reason for each in world.ended(2)[1:]} <= {"unsendable"}


def test_a_redirect_to_within_is_not_followed(world: World) -> None:
    """
    An endpoint that sends us elsewhere ends the dispatch; nobody is asked at the other address.
    """
    with ExitStack() as stack:
        inner = stack.enter_context(Endpoint())
        location = {"Location": f"{inner.url}/latest/meta-data/"}
        world.endpoint = stack.enter_context(Endpoint(lambda _: Said(307, b"", location)))
        world.start(POST)
        world.post(world.promote())

        (record,) = world.ended()

    assert (record.state, record.reason) == (DispatchState.DEAD, "redirected")
    assert inner.arrived == []


def test_a_name_that_means_a_private_address_by_now(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A public name that leads here is refused when it is looked up, whatever it meant before.
    """
    asked: list[str] = []
    system = socket.getaddrinfo

    def rebound(host: str, *others: object, **more: object) -> object:
        if host == "hooks.example.com":
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", world.endpoint.port))]
        return system(host, *others, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    url = f"https://hooks.example.com:{world.endpoint.port}/"
    world.start(POST.replace('"ENDPOINT", allow_private: true', f'"{url}"'))
    world.post(world.promote())

    (record,) = world.ended()

    assert (record.state, record.reason) == (DispatchState.DEAD, "address-refused")
    assert asked == ["hooks.example.com"]
    assert world.endpoint.arrived == []


def test_what_may_have_arrived_is_held(world: World) -> None:
    """
    With `ambiguous: hold`, an endpoint that broke off is not told again, and somebody hears why.
    """
    world.endpoint.faults.add("POST /", reset_after=True)
    world.start(POST)
    world.post(world.promote())

    (record,) = world.ended()

    assert (record.state, record.reason) == (DispatchState.DEAD, "held")
    assert len(world.endpoint.arrived) == 1
    wait_for(lambda: "may have arrived" in world.heard(), f"Slack heard {world.heard()}")


@pytest.mark.parametrize("when", ["settled", "sent"])
def test_a_kill_where_nothing_may_come_twice(world: World, tmp_path: Path, when: str) -> None:
    """
    Killed while W&B is asked, or while the endpoint thinks: the next process holds it, and tells why.
    """
    world.write(POST)
    version = world.promote()
    if when == "settled":
        world.wandb.faults.add("graphql:*", times=None, stall=60.0)
    else:
        world.endpoint.faults.add("POST /", hang=threading.Event(), accept_first=True)
    with serving(world.environ, tmp_path, "--config", str(world.config)) as killed:
        raw, headers = world.signed(version)
        assert requests.post(killed.webhook_url, data=raw, headers=headers, timeout=10).status_code == 202
        wait_for(lambda: [each for each in world.records() if each.attempts], "it was not tried")
        if when == "sent":
            wait_for(lambda: world.endpoint.arrived, "it did not arrive")
        for process in _and_children(killed.process.pid):
            os.kill(process, signal.SIGKILL)
        killed.process.wait(timeout=10)
    world.wandb.faults.clear()

    world.start(POST)
    (record,) = world.ended()

    assert (record.state, record.reason) == (DispatchState.DEAD, "held")
    assert len(world.endpoint.arrived) == (1 if when == "sent" else 0)


def _and_children(process: int) -> list[int]:
    """The process and its workers."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process, *map(int, children)]


def test_what_no_longer_held_is_asked_about_anew(world: World) -> None:
    """
    An outdated promotion that is redelivered is sent when it holds by then, and never when it does not.
    """
    world.start(DEPLOY)
    version = world.version()
    world.post(version)
    (record,) = world.ended()
    assert record.state is DispatchState.OUTDATED
    world.stop()

    for holds in (False, True):
        if holds:
            world.wandb.add_alias(f"{PLACE}/nature", version, "production")
        with Ledger.open(world.database_url) as ledger:
            (delivery,) = ledger.deliveries()
            ledger.redeliver(delivery.id, now=delivery.received_at, force=True)
        world.start(DEPLOY)
        (record,) = world.ended()
        assert record.state is (DispatchState.SENT if holds else DispatchState.OUTDATED)
        world.stop()
    assert len(world.github.dispatches) == 1


def test_a_channel_that_is_dead_hinders_nobody(world: World) -> None:
    """
    While Slack fails, promotions go out as ever; the news wait for it.
    """
    world.slack.faults.add("POST *", times=None, status=500)
    world.start(DEPLOY)
    for number in range(1, 4):
        world.post(world.promote(number=number))
        assert world.ended(number)[-1].state is DispatchState.SENT

    waiting = {DispatchState.PENDING, DispatchState.SENDING}  # Tried again and again.
    assert {each.state for each in world.records(notices=True)} <= waiting
    assert len(world.records(notices=True)) == len(world.github.dispatches) == 3


def test_what_is_gone_from_the_file_is_said(world: World) -> None:
    """
    A dispatch whose route is gone when it is to be sent ends dead and says so; the channel's news too.
    """
    world.start(POST)
    version = world.promote()
    address = world.wandb.url
    world.wandb.stop()
    world.post(version)
    wait_for(lambda: [each for each in world.records() if each.attempts], "it was not tried")
    world.wandb.start()
    world.head = world.head.replace(address, world.wandb.url)
    assert world.reload(DEPLOY)

    (record,) = world.ended()

    assert (record.state, record.reason) == (DispatchState.DEAD, "route-gone")


def test_a_source_speaks_for_its_own_versions(world: World) -> None:
    """
    A team's webhook that shows another team's version under its own name starts nothing.
    """
    world.start(POST)
    version = world.promote()

    answer = world.post(version, VISION_SECRET, "vision", entity_name="vision")

    assert answer.status_code == 202
    (record,) = world.ended()
    assert record.state in {DispatchState.UNWANTED, DispatchState.DEAD}
    assert world.endpoint.arrived == []


def test_a_replay_deploys_nothing_older(world: World) -> None:
    """
    A webhook that was recorded and is posted again, after its window and a newer promotion, is outdated.
    """
    world.start(DEPLOY)
    first = world.promote(number=1)
    world.post(first)
    world.ended()
    world.post(world.promote(number=2))
    world.ended(2)

    world.post(first)

    states = [each.state for each in world.ended(3)]
    assert states == [DispatchState.SENT, DispatchState.SENT, DispatchState.OUTDATED]
    assert len(world.github.dispatches) == 2


def test_files_change_while_webhooks_come(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """
    Under load, with a reload each moment and every second file broken, each promotion is sent once.
    """
    world.start(DEPLOY)
    version = world.promote()
    stop = threading.Event()
    taken: list[bool] = []

    def change() -> None:
        while not stop.wait(0.01):
            taken.append(world.reload(DEPLOY if len(taken) % 2 else DEPLOY.replace("when", "wen")))

    changing = threading.Thread(target=change)
    changing.start()
    try:
        answers = [world.post(version, event_author=f"a{number}") for number in range(40)]
    finally:
        stop.set()
        changing.join()

    assert {answer.status_code for answer in answers} <= {200, 202}
    assert {True, False} <= set(taken)
    (record,) = world.ended()
    assert record.state is DispatchState.SENT
    assert len(world.github.dispatches) == 1
    assert not [each for each in caplog.records if "unexpected" in each.message]


@pytest.mark.parametrize(
    "fault",
    [{"status": 429, "retry_after": 60}, {"status": 503}, {"reset": True}],
    ids=["busy", "down", "reset"],
)
def test_nobody_waits_while_wandb_does_not_answer(world: World, fault: dict[str, Any]) -> None:
    """
    The ledger waits, not the thread: what needs no answer of W&B's goes out, and we stop at once when told.
    """
    world.start(DEPLOY)
    version = world.promote()
    world.wandb.faults.add("graphql:*", times=None, **fault)
    began = time.monotonic()
    for number in range(8):
        world.post(version, artifact_collection_name=f"nature{number}")

    def tried() -> bool:
        return all(each.attempts and each.attempts[0].outcome for each in world.records())

    wait_for(lambda: len(world.records()) == 8 and tried(), "they are still asking")
    world.stop()

    assert time.monotonic() - began < 10
    assert {each.attempts[0].reason for each in world.records()} == {"wandb-unreachable"}
    assert not world.github.dispatches
