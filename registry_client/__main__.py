"""What action.yml runs: the artifact of an event becomes a proven directory, outputs and a summary."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, TextIO

from registry_client import __version__, credentials
from registry_client.api import WandbApi
from registry_client.download import Download, download
from registry_client.errors import ConfigurationError, RegistryError
from registry_client.inputs import ALIAS_OF_EVENT, Inputs, with_inputs
from registry_client.outputs import directory_name, outputs
from registry_client.progress import Lines
from registry_client.reference import parse_reference
from registry_client.resolve import resolve
from registry_client.summary import summary
from registry_client.trigger import Trigger, artifact_from_event
from registry_client.version import ArtifactVersion
from registry_client.workflow import MOST_OF_OUTPUTS, Workflow, output_size

_WHAT_TO_DO = {
    "access-denied": "Check the secret behind `api-key:`, and that its user may read the artifact.",
    "alias-moved": "The alias was moved since: the run for its new version is the one to keep.",
    "not-found": "Check the name, and that the user behind `api-key:` may see its project or registry.",
    "not-committed": "Run this job again when the upload has ended.",
    "fetch-failed": "Run this job again; if it fails the same way, look at W&B's status page.",
    "verification-failed": "The file store holds other bytes than were logged: log it anew, or ask W&B.",
    "bad-manifest": "Nothing of it was downloaded: log the artifact anew, or ask W&B.",
    "target": "Give another `path:`, or make room.",
}


def main(environ: Mapping[str, str], stdout: TextIO, arguments: Sequence[str] = ()) -> int:
    """Run one step; the exit code is the error's, and one annotation says what to do about it."""
    if "--version" in arguments:
        stdout.write(f"handoff {__version__}\n")
        return 0
    workflow = Workflow(environ, stdout)
    if key := environ.get("HANDOFF_INPUT_API_KEY", "").strip():
        workflow.mask(key)  # Before anything else is printed.
    try:
        run(with_inputs(environ), workflow)
    except RegistryError as error:
        hint = _WHAT_TO_DO.get(error.reason)
        workflow.error(f"Handoff: {error.reason}", f"{error}\n{hint}" if hint else str(error))
        workflow.set_outputs({"reason": error.reason})
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - whatever it is, the annotation should say so
        workflow.log(traceback.format_exc())
        workflow.error("Handoff: internal error", f"{type(error).__name__}: {error}\nPlease report this.")
        workflow.set_outputs({"reason": "internal-error"})
        return 1
    return 0


def run(environ: Mapping[str, str], workflow: Workflow) -> None:
    """The story of one step: event → version → directory → outputs and summary."""
    inputs = Inputs.from_env(environ)
    trigger = _trigger(inputs, environ)
    base_url = credentials.base_url(environ)
    key = credentials.api_key(environ, base_url)
    if key is not None:
        workflow.mask(key.value)
    with WandbApi(base_url, key) as registry:
        version = resolve(
            trigger.reference,
            registry,
            collection=trigger.collection,
            expect_alias=_expected_alias(inputs, trigger),
        )
        workflow.log(f"{trigger.reference} is {version.name}, digest {version.digest}")
        done = None if inputs.resolve_only else _download(version, registry, inputs, environ, workflow)
    _report(version, trigger, done, inputs, workflow)


def _trigger(inputs: Inputs, environ: Mapping[str, str]) -> Trigger:
    if inputs.artifact:
        return Trigger(reference=parse_reference(inputs.artifact))
    return artifact_from_event(_event(environ))


def _event(environ: Mapping[str, str]) -> Mapping[str, Any]:
    file = environ.get("GITHUB_EVENT_PATH")
    if not file:
        return {}
    try:
        event = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"the event of this run cannot be read ({file}): {error}") from error
    return event if isinstance(event, dict) else {}


def _expected_alias(inputs: Inputs, trigger: Trigger) -> str | None:
    if inputs.expect_alias != ALIAS_OF_EVENT:
        return inputs.expect_alias or None
    if trigger.alias is None:
        raise ConfigurationError(
            "the input expect-alias is `event`, but no event with an alias decided what to download: "
            "leave it out, or name the alias"
        )
    return trigger.alias


def _download(
    version: ArtifactVersion,
    registry: WandbApi,
    inputs: Inputs,
    environ: Mapping[str, str],
    workflow: Workflow,
) -> Download:
    into = _directory(version, inputs, environ)
    progress = Lines(workflow.log_stream())
    return download(version, into, registry, concurrency=inputs.concurrency, progress=progress)


def _directory(version: ArtifactVersion, inputs: Inputs, environ: Mapping[str, str]) -> Path:
    if inputs.path:
        return Path(environ.get("GITHUB_WORKSPACE", ""), Path(inputs.path).expanduser()).absolute()
    temporary = environ.get("RUNNER_TEMP")
    if not temporary:
        raise ConfigurationError("RUNNER_TEMP is not set, as it is on a runner: give the input `path:`")
    first = Path(temporary, "handoff", directory_name(version)).absolute()
    others = (first.with_name(f"{first.name}-{number}") for number in count(2))
    return first if not first.exists() else next(each for each in others if not each.exists())


def _report(
    version: ArtifactVersion, trigger: Trigger, done: Download | None, inputs: Inputs, workflow: Workflow
) -> None:
    path = "" if done is None else str(done.directory)
    found = dict(outputs(version, path=path))
    if output_size(found["metadata"]) > MOST_OF_OUTPUTS // 2:
        workflow.warning("Handoff", "the metadata is too large for an output of GitHub's; it was left empty")
        found["metadata"] = ""
    workflow.set_outputs(found)
    if inputs.summary:
        files = None if done is None else done.manifest.files
        workflow.summarize(summary(version, trigger, path=path, files=files))


if __name__ == "__main__":
    sys.exit(main(os.environ, sys.stdout, sys.argv[1:]))
