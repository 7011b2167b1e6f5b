"""What action.yml runs: an event becomes a proven directory, outputs, a summary; and report/action.yml."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from typing import Any, TextIO

from registry_client import __version__, credentials, report_step
from registry_client.api import WandbApi
from registry_client.build_context import write_build_context
from registry_client.build_context_recipe import ContextKind
from registry_client.cache import Cache
from registry_client.download import Download, download
from registry_client.errors import ConfigurationError, RegistryError
from registry_client.expect import check_digest
from registry_client.inputs import ALIAS_OF_EVENT, NO_ALIAS, Inputs, cache_place, with_inputs
from registry_client.outputs import Downloaded, directory_name, outputs
from registry_client.papers import write_papers
from registry_client.progress import Lines
from registry_client.provenance import labels, provenance
from registry_client.reference import parse_reference
from registry_client.resolve import resolve
from registry_client.signals import unwinding
from registry_client.summary import summary
from registry_client.trigger import Trigger, artifact_from_event
from registry_client.version import ArtifactVersion
from registry_client.workflow import MOST_OF_OUTPUTS, Workflow, output_size

_WHAT_TO_DO = {
    "access-denied": (
        "Check the secret behind `api-key:`, or the identity federation for `auth: oidc`, "
        "and that its user may read the artifact."
    ),
    "alias-moved": "The alias was moved since: the run for its new version is the one to keep. "
    "To build this one all the same: `expect-alias: none`.",
    "not-found": "Check the name, and that the user behind `api-key:` may see its project or registry.",
    "not-committed": "Run this job again when the upload has ended.",
    "fetch-failed": "Run this job again; if it fails the same way, look at W&B's status page.",
    "verification-failed": "If the file store holds other bytes than were logged, log it anew, or ask W&B.",
    "bad-manifest": "Nothing of it was downloaded: log the artifact anew, or ask W&B.",
    "reference-entries": "The input `references:` says what to do about files outside W&B.",
    "target": "Give another `path:`, or `replace: true` if what lies there may go.",
    "disk-full": "Make room, give a `path:` on another disk, or leave files out with `exclude:`.",
    "too-large": "Raise `max-size:`, or leave files out with `exclude:`.",
}


def _now() -> datetime:
    return datetime.now(timezone.utc)


def main(
    environ: Mapping[str, str],
    stdout: TextIO,
    arguments: Sequence[str] = (),
    *,
    now: Callable[[], datetime] = _now,
) -> int:
    """Run one step; the exit code is the error's, and one annotation says what to do about it."""
    if "--version" in arguments:
        stdout.write(f"handoff {__version__}\n")
        return 0
    workflow = Workflow(environ, stdout)
    if key := environ.get("HANDOFF_INPUT_API_KEY", "").strip():
        workflow.mask(key)  # Before anything else is printed.
    with unwinding(signal.SIGINT, signal.SIGTERM):
        try:
            if "report" in arguments:
                report_step.run(with_inputs(environ), _event(environ), workflow, now)
            else:
                run(with_inputs(environ), workflow, now)
        except RegistryError as error:
            hints = report_step.WHAT_TO_DO if "report" in arguments else _WHAT_TO_DO
            hint = hints.get(error.reason)
            told = f"{error}\n{hint}" if hint else str(error)
            return _failed(workflow, error.reason, told, error.exit_code)
        except SystemExit as stopped:
            told = "the step was ended from outside; what had arrived is kept for the next try"
            return _failed(workflow, "cancelled", told, int(stopped.code or 0))
        except Exception as error:  # noqa: BLE001 - whatever it is, the annotation should say so
            workflow.log(traceback.format_exc())
            told = f"{type(error).__name__}: {error}\nPlease report this."
            return _failed(workflow, "internal-error", told, 1)
    return 0


def _failed(workflow: Workflow, reason: str, told: str, exit_code: int) -> int:
    workflow.error(f"Handoff: {reason}", told)
    with suppress(OSError):  # The annotation has said it.
        workflow.set_outputs({"reason": reason})
    return exit_code


def run(environ: Mapping[str, str], workflow: Workflow, now: Callable[[], datetime] = _now) -> None:
    """The story of one step: event → version → directory → papers, outputs and summary."""
    inputs = Inputs.from_env(environ)
    trigger = _trigger(inputs, environ)
    base_url = credentials.base_url(environ)
    credential = credentials.sign_in(
        environ, base_url, auth=inputs.auth, audience=inputs.audience or None, mask=workflow.mask
    )
    if credential is not None:  # On its way a key has another form, which is as secret.
        workflow.mask(credential.authorization().partition(" ")[2])
    with WandbApi(base_url, credential, environ=environ) as registry:
        version = resolve(
            trigger.reference,
            registry,
            collection=trigger.collection,
            expect_alias=_expected_alias(inputs, trigger),
        )
        workflow.log(f"{trigger.reference} is {version.name}, digest {version.digest}")
        check_digest(version, inputs.expect_digest or _digest_of_event(inputs, trigger))
        done = None if inputs.resolve_only else _download(version, registry, inputs, environ, workflow)
    known = _known(version, trigger, done, now())
    told = None if done is None else _downloaded(done, known, _context(done, inputs))
    _report(version, trigger, labels(known), told, inputs, workflow)


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
    if inputs.expect_alias in {"", NO_ALIAS}:
        return None if inputs.expect_alias else trigger.alias
    if inputs.expect_alias != ALIAS_OF_EVENT:
        return inputs.expect_alias
    if trigger.alias is None:
        raise ConfigurationError(
            "the input expect-alias is `event`, but no event with an alias decided what to download: "
            "leave it out, or name the alias"
        )
    return trigger.alias


def _digest_of_event(inputs: Inputs, trigger: Trigger) -> str | None:
    """What the receiver verified; with ``none`` nothing of the event is insisted on."""
    return None if inputs.expect_alias == NO_ALIAS else trigger.digest


def _download(
    version: ArtifactVersion,
    registry: WandbApi,
    inputs: Inputs,
    environ: Mapping[str, str],
    workflow: Workflow,
) -> Download:
    return download(
        version,
        _directory(version, inputs, environ),
        registry,
        include=inputs.include,
        exclude=inputs.exclude,
        references=inputs.references,
        cache=_cache(inputs, environ),
        max_size=inputs.max_size,
        replace=inputs.replace,
        concurrency=inputs.concurrency,
        progress=Lines(workflow.log_stream()),
    )


def _cache(inputs: Inputs, environ: Mapping[str, str]) -> Cache | None:
    place = cache_place(inputs.cache_dir, environ)
    if place is None:
        return None
    directory, limit = place
    return Cache(_in_workspace(directory, environ), limit=inputs.cache_size or limit)


def _directory(version: ArtifactVersion, inputs: Inputs, environ: Mapping[str, str]) -> Path:
    if inputs.path:
        return _in_workspace(Path(inputs.path), environ)
    temporary = environ.get("RUNNER_TEMP")
    if not temporary:
        raise ConfigurationError("RUNNER_TEMP is not set, as it is on a runner: give the input `path:`")
    first = Path(temporary, "handoff", directory_name(version)).absolute()
    others = (first.with_name(f"{first.name}-{number}") for number in count(2))
    return first if not first.exists() else next(each for each in others if not each.exists())


def _known(
    version: ArtifactVersion, trigger: Trigger, done: Download | None, at: datetime
) -> Mapping[str, Any]:
    tool = f"wandb-handoff/{__version__}"
    if done is None:
        return provenance(version, None, verified_at=None, tool=tool, trigger=trigger)
    there, listed = done.present, done.references
    return provenance(version, there, verified_at=at, tool=tool, trigger=trigger, listed=listed)


def _context(done: Download, inputs: Inputs) -> Path | None:
    """The build context; what is written on it is the same whichever promotion asks for the version."""
    if inputs.context is ContextKind.NONE:
        return None
    known = provenance(done.version, done.present, verified_at=None, tool="")
    return write_build_context(inputs.context, done, labels(known))


def _downloaded(done: Download, known: Mapping[str, Any], context: Path | None) -> Downloaded:
    papers = write_papers(done, known)
    return Downloaded(
        path=str(done.directory),
        files=done.present.entries,
        left_out=len(done.references),
        provenance=str(papers.provenance),
        references=str(papers.references or ""),
        fetched=done.fetched,
        reused=done.reused,
        context=str(context or ""),
    )


def _in_workspace(path: Path, environ: Mapping[str, str]) -> Path:
    return Path(environ.get("GITHUB_WORKSPACE", ""), path.expanduser()).absolute()


def _report(  # noqa: PLR0913, PLR0917 - what there is to report
    version: ArtifactVersion,
    trigger: Trigger,
    labelled: Mapping[str, str],
    done: Downloaded | None,
    inputs: Inputs,
    workflow: Workflow,
) -> None:
    found = dict(outputs(version, labelled, done))
    if output_size(found["metadata"]) > MOST_OF_OUTPUTS // 2:
        workflow.warning("Handoff", "the metadata is too large for an output of GitHub's; it was left empty")
        found["metadata"] = ""
    workflow.set_outputs(found)
    if inputs.summary:
        workflow.summarize(summary(version, trigger, done))


if __name__ == "__main__":
    sys.exit(main(os.environ, sys.stdout, sys.argv[1:]))
