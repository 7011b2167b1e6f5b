"""`make demo`: tells and checks the whole story; exits 0 only if every step was as told."""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import requests

from demo.flower_model import FlowerModel
from demo.stage import (
    COLLECTION,
    PAYLOAD,
    REPOSITORY,
    SOURCE,
    Receiver,
    github_with_app,
    receiver_at_work,
    wandb_with_models,
    webhook_of,
)
from demo.story import DemoFailedError, Story
from tests.stand_ins.github import GitHubStandIn
from tests.stand_ins.runner import CompositeRunner, StepResult
from tests.stand_ins.wandb import WandbStandIn

_ROOT = Path(__file__).resolve().parent.parent
_FOLDER = _ROOT / "demo-run"
_FLOWER = (6.6, 3.0, 5.6, 2.0)
_APP = "installation"  # The kind of token that an App mints.
_NEXT = """Next:
  make demo KEEP=1    the same, and the servers stay up to play with
  make test           every test, lint and types"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the story; 0 when every step was as told, 1 with the reason when not."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument(
        "--keep", action="store_true", help="leave the servers up, with commands to play with"
    )
    arguments = parser.parse_args(argv)
    shutil.rmtree(_FOLDER, ignore_errors=True)
    _FOLDER.mkdir()
    began = time.monotonic()
    try:
        with contextlib.ExitStack() as stage:
            wandb = stage.enter_context(wandb_with_models())
            github, private_key = stage.enter_context(github_with_app())
            receiver = stage.enter_context(receiver_at_work(_FOLDER, github.url, private_key))
            _tell(Story(), wandb, github, receiver)
            print(f"\nEvery line above was checked, in {time.monotonic() - began:.0f} s.")
            if arguments.keep:
                _play(wandb, github, receiver)
    except DemoFailedError as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    print(_NEXT)
    return 0


def _tell(story: Story, wandb: WandbStandIn, github: GitHubStandIn, receiver: Receiver) -> None:
    print("A promotion in W&B becomes a build on GitHub. All servers are on 127.0.0.1.\n")
    _set_the_scene(story, receiver)
    delivery = _promote(story, wandb, receiver)
    event = _dispatched(story, github, delivery)
    runner = CompositeRunner(_ROOT, _FOLDER / "runner")
    _build(story, runner, wandb, event)
    _refuse(story, runner, wandb, receiver, event)


def _set_the_scene(story: Story, receiver: Receiver) -> None:
    story.step("A W&B stand-in holds a small real model; a GitHub stand-in has a repository and an App")
    story.plain(f"{SOURCE} v0 and v1, linked to the registry collection {COLLECTION}")
    story.plain(f"{REPOSITORY}, whose workflow listens to BUILD_AND_DEPLOY")
    story.step(f"`handoff serve` is up: {receiver.webhook_url}")
    story.seen("ready: settings sound, ledger writable, dispatcher alive", so=receiver.ready())


def _promote(story: Story, wandb: WandbStandIn, receiver: Receiver) -> str:
    story.step("Ana adds the alias `production` to v1 in W&B, and W&B posts its signed webhook")
    wandb.add_automation(
        "deploy",
        collection=COLLECTION,
        event="ADD_ARTIFACT_ALIAS",
        alias_regex="^production$",
        webhook=webhook_of(receiver),
        payload=PAYLOAD,
        author="ana",
    )
    wandb.add_alias(COLLECTION, "v1", "production")
    execution = wandb.executions[-1]
    answer = json.loads(execution.response_body)
    delivery = str(answer.get("delivery"))
    story.seen(
        f"{execution.response_status} {answer.get('status')}: on disk before the answer, delivery {delivery}",
        so=execution.response_status == requests.codes.accepted and answer.get("status") == "accepted",
        otherwise=execution,
    )
    return delivery


def _dispatched(story: Story, github: GitHubStandIn, delivery: str) -> dict[str, object]:
    story.step("The receiver signs in as the App and dispatches")
    github.wait_for_dispatches(1, timeout=20)
    dispatch = github.dispatches[0]
    handoff = dispatch.client_payload["handoff"]
    story.seen(
        f"repository_dispatch {dispatch.event_type} reached {dispatch.repository}, with a token for it alone",
        so=dispatch.repository == REPOSITORY and dispatch.token_kind == _APP,
        otherwise=dispatch,
    )
    story.seen(
        f"it pins {handoff['artifact']}, promoted by {handoff['author']}",
        so=handoff["delivery"] == delivery and handoff["alias"] == "production",
        otherwise=handoff,
    )
    story.seen("nothing in it disagrees with GitHub's own API description", so=not github.violations)
    return github.event(dispatch)


def _build(story: Story, runner: CompositeRunner, wandb: WandbStandIn, event: dict[str, object]) -> None:
    story.step("The packaged Action (`uses:` one step, nothing to install) runs for that event")
    began = time.monotonic()
    result = _run(runner, wandb, event)
    seconds = time.monotonic() - began
    outputs = result.outputs
    came = f"{outputs['file-count']} files, {outputs['size']} bytes"
    story.seen(
        f"{outputs['artifact']}: {came}, every one proven, in {seconds:.1f} s",
        so=result.exit_code == 0 and outputs["artifact"] == f"{COLLECTION}:v1",
        otherwise=result.log,
    )
    for name in ("path", "digest", "image-tag", "aliases"):
        value = outputs[name].replace(f"{_ROOT}/", "")
        story.plain(f"{name + ':':<10} {value}")
    story.seen(f"step summary: {result.summary.splitlines()[0]!r}", so=bool(result.summary.strip()))
    model = FlowerModel.load(Path(outputs["path"]))
    story.seen(
        f"the model works: {_FLOWER} cm is {model.predict(_FLOWER)}",
        so=model.predict(_FLOWER) == "virginica",
    )


def _refuse(
    story: Story, runner: CompositeRunner, wandb: WandbStandIn, receiver: Receiver, event: dict[str, object]
) -> None:
    story.step("What must not pass does not")
    forged = requests.post(
        receiver.webhook_url,
        data=b'{"event_type": "BUILD_AND_DEPLOY"}',
        headers={"X-Wandb-Signature": "0" * 64, "Authorization": "Bearer guessed"},
        timeout=10,
    )
    story.seen(
        f"a forged webhook: {forged.status_code} {forged.json().get('reason')}",
        so=forged.status_code == requests.codes.unauthorized,
        otherwise=forged.text,
    )
    wandb.faults.add("file:weights.json", times=1, flip_byte=3)
    result = _run(runner, wandb, event)
    left = list((_FOLDER / "runner" / "temp").rglob("weights.json"))
    story.seen(
        f"one byte flipped on the way: the Action exits {result.exit_code} and leaves no file",
        so=result.exit_code != 0 and not left,
        otherwise=result.log,
    )


def _run(runner: CompositeRunner, wandb: WandbStandIn, event: dict[str, object]) -> StepResult:
    return runner.run({"api-key": wandb.api_key, "base-url": wandb.url}, event=event, repository=REPOSITORY)


def _play(wandb: WandbStandIn, github: GitHubStandIn, receiver: Receiver) -> None:
    """Leave everything up, and say what can be done with it, until Ctrl-C."""
    environ = dict(receiver.environ) | {
        "WANDB_BASE_URL": wandb.url,
        "WANDB_API_KEY": wandb.api_key,
        "HANDOFF_URL": receiver.webhook_url,
    }
    env_file = _FOLDER / "env.sh"
    env_file.write_text(
        "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environ.items()), encoding="utf-8"
    )
    env_file.chmod(0o600)
    payload = _FOLDER / "payload.json"
    payload.write_bytes(wandb.executions[-1].payload)
    handoff = Path(sys.executable).with_name("handoff").relative_to(_ROOT)
    print(
        f"""The servers stay up: W&B {wandb.url}  GitHub {github.url}  receiver {receiver.url}
In another terminal, in this folder:
  source demo-run/env.sh
  {handoff} deliveries
  {handoff} send --url "$HANDOFF_URL" demo-run/payload.json
  {handoff} resolve {COLLECTION}:production
  {handoff} download {COLLECTION}:production demo-run/model
  curl {receiver.url}/readyz
Here Ctrl-C ends it.""",
        flush=True,
    )
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
