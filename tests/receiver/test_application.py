"""The doors of a configuration: jobs report, GitHub tells of runs, and another file opens others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import Client, TestResponse

from receiver import close_app, create_app, reload_app
from receiver.config.from_settings import config_of
from receiver.config.types import Config, GitHubConfig, Source
from receiver.delivery import DeliveryRecord
from receiver.errors import SettingsError
from receiver.github_webhook import HEADER as GITHUB_HEADER
from receiver.ledger import Ledger
from receiver.secret import Secret
from receiver.settings import Settings
from receiver.signature import HEADER, sign
from registry_client.report import HEADER as REPORT_HEADER
from registry_client.report import Mark, Report, signature
from tests.receiver.fakes import START, Clock
from tests.receiver.github_world import PAT
from tests.receiver.web_fakes import ARTIFACT, SECRET, body, flat

REPORTS, HOOK = "report-secret-for-tests", "github-webhook-secret-for-tests"
ID = ARTIFACT.rpartition("/")[2]


class World:
    """An application that receives only, with every door open, and the configuration to read next."""

    def __init__(self, tmp_path: Path) -> None:
        self.url = f"sqlite:///{tmp_path}/handoff.db"
        settings = Settings(
            repository="acme/serving",
            secrets=(Secret(SECRET),),
            github=Secret(PAT),
            database_url=self.url,
            report_secrets=(Secret(REPORTS),),
        )
        config = config_of(settings)
        github = replace(config.github, webhook_secrets=(Secret(HOOK),))
        self.config = replace(config, github=github)
        self.next: Callable[[], Config] = lambda: self.config
        self.clock = Clock()
        self.app: Flask = create_app(self.config, dispatch=False, now=self.clock, reread=self.reread)
        self.client = Client(self.app)

    def reread(self) -> Config:
        """The configuration that is read next."""
        return self.next()

    def post(self, source: str = "wandb", secret: str = SECRET, **changes: object) -> TestResponse:
        """Post what W&B would."""
        raw = body(flat(**changes))
        return self.client.post(f"/webhooks/{source}", data=raw, headers={HEADER: sign(raw, secret.encode())})

    def report(self, report: Report, secret: str = REPORTS) -> TestResponse:
        """Post what a job would."""
        raw = report.to_bytes()
        return self.client.post(
            "/reports", data=raw, headers={REPORT_HEADER: signature(raw, secret.encode())}
        )

    def delivery(self, id_: str) -> DeliveryRecord:
        """As the ledger has it."""
        with Ledger.read_only(self.url) as ledger:
            return ledger.delivery(id_)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """It, closed in the end."""
    world = World(tmp_path)
    yield world
    close_app(world.app)


def of_job(world: World, delivery: str, **others: object) -> Report:
    """The report of the job that the delivery's dispatch started."""
    key = world.delivery(delivery).dispatches[0].key
    told = {"at": START, "state": "success", "version": "acme/m/f:v3", "artifact": ID, "key": key, **others}
    return Report(delivery=delivery, digest="ab12", **told)  # type: ignore[arg-type]


def test_a_job_reports_and_the_delivery_shows_it(world: World) -> None:
    """
    What became of a promotion stands where the promotion stands.
    """
    delivery = world.post().json["delivery"]  # type: ignore[index]

    answer = world.report(of_job(world, delivery, image="acme/serving@sha256:12ab"))

    assert (answer.status_code, answer.json) == (200, {"status": "noted"})
    told = world.delivery(delivery).dispatches[0].report
    assert told is not None
    assert (told["state"], told["image"]) == ("success", "acme/serving@sha256:12ab")


def test_a_report_of_nobody_knows_what_is_unknown(world: World) -> None:
    """
    A key that was never sent changes nothing.
    """
    delivery = world.post().json["delivery"]  # type: ignore[index]

    assert world.report(of_job(world, delivery, key="0" * 20)).json == {"status": "unknown"}


def test_a_report_that_is_not_signed_is_refused(world: World) -> None:
    """
    Nobody else tells what was deployed.
    """
    delivery = world.post().json["delivery"]  # type: ignore[index]

    answer = world.report(of_job(world, delivery), secret="another-secret-altogether")

    assert (answer.status_code, answer.json["reason"]) == (401, "bad-signature")  # type: ignore[index]
    assert world.delivery(delivery).dispatches[0].report is None


def test_what_we_write_ourselves_starts_nothing(world: World) -> None:
    """
    The automation on ``deployed`` fires for the alias that our own report gave, and the circle ends here.
    """
    delivery = world.post().json["delivery"]  # type: ignore[index]
    mark = Mark("wandb-registry-model/Churn Model", "alias:deployed")
    world.report(of_job(world, delivery, state="marking", marks=(mark,)))

    ours, theirs = world.post(alias="deployed"), world.post(alias="staging")

    assert (ours.status_code, ours.json["status"]) == (200, "own-mark")  # type: ignore[index]
    assert theirs.json["status"] == "accepted"  # type: ignore[index]


def test_without_its_secret_a_door_is_closed(world: World) -> None:
    """
    No secret, no door: neither reports nor GitHub's webhooks are taken.
    """
    world.config = replace(
        world.config, github=replace(world.config.github, webhook_secrets=()), report_secrets=()
    )
    assert reload_app(world.app)

    assert world.client.post("/reports", data=b"{}").status_code == 404
    assert world.client.post("/webhooks/github", data=b"{}").status_code == 404


@pytest.mark.parametrize("headers", [{}, {GITHUB_HEADER: "sha256=00"}], ids=["unsigned", "wrong"])
def test_github_has_to_sign(world: World, headers: dict[str, str]) -> None:
    """
    A stranger cannot tell us how a run ended.
    """
    assert world.client.post("/webhooks/github", data=b"{}", headers=headers).status_code == 401


def test_another_configuration_opens_other_doors(world: World) -> None:
    """
    After a reload the new source is known, the old one is not; a request under way keeps its own.
    """
    source = Source("vision", (Secret("vision-secret-for-tests"),))
    world.config = replace(world.config, sources={"vision": source})

    assert reload_app(world.app)

    assert world.post().status_code == 404
    assert world.post("vision", "vision-secret-for-tests").status_code == 202


def test_a_bad_configuration_changes_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """
    Each of its problems is told, and all goes on as it was.
    """

    def bad() -> Config:
        raise SettingsError(["handoff.yaml:3:1: rotes: unknown key; did you mean routes?"])

    world.next = bad

    assert not reload_app(world.app)

    assert "handoff.yaml:3:1: rotes" in caplog.text
    assert "the configuration stays as it was" in caplog.text
    assert world.post().status_code == 202


def test_what_cannot_change_while_we_run_is_said(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """
    Another ledger or budget takes a restart, and the log says so.
    """
    world.config = replace(world.config, github=GitHubConfig(world.config.github.credentials, budget=None))

    reload_app(world.app)

    assert "github.budget is another now, which takes a restart" in caplog.text


def test_the_body_of_a_report_has_a_limit(world: World) -> None:
    """
    No door takes what is larger than the setting.
    """
    large = json.dumps({"x": "y" * world.config.server.max_body}).encode()

    for path in ("/reports", "/webhooks/github", "/webhooks/wandb"):
        assert world.client.post(path, data=large).status_code == 413
