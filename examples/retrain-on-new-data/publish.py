"""Log a trained model in W&B, with its lineage, and link it to the registry: ``publish.py MODEL``."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import wandb


@dataclass(frozen=True)
class Settings:
    """What the workflow says.

    Attributes:
        project: ``entity/project`` to log to.
        name: Of the model there.
        link_to: ``organization/wandb-registry-…/collection``.
        data: ``entity/project/collection:vN`` of the data set that it was trained on.
        key: Of the dispatch: the same for each try.
        run_url: The workflow's run.
        commit: Of the training code.
    """

    project: str
    name: str
    link_to: str
    data: str
    key: str
    run_url: str
    commit: str

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the variables, or name each one that is missing."""
        names = ("MODEL_PROJECT", "MODEL_NAME", "LINK_TO", "DATA", "KEY", "RUN_URL", "GITHUB_SHA")
        missing = [name for name in names if not environ.get(name)]
        if missing:
            raise SystemExit(f"missing: {', '.join(missing)}")
        if not re.fullmatch(r"[^/]+/[^/]+", environ["MODEL_PROJECT"]):
            raise SystemExit(f"MODEL_PROJECT: want entity/project, got {environ['MODEL_PROJECT']!r}")
        return cls(*(environ[name] for name in names))

    @property
    def run_id(self) -> str:
        """The same W&B run for each try, so that a job that is repeated goes on with it."""
        return f"retrain-{hashlib.sha256(self.key.encode()).hexdigest()[:16]}"


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Log, wait until W&B has it, link, and tell the steps after this one."""
    settings, model = Settings.from_env(environ), Path(arguments[0])
    linked = publish(settings, model)
    tell(environ, "GITHUB_OUTPUT", f"artifact={' '.join(linked.split())}")
    tell(environ, "GITHUB_STEP_SUMMARY", f"Linked to the registry as `{linked.replace('`', '')}`.")


def publish(settings: Settings, model: Path) -> str:
    """The full name of the new version in the registry; content that W&B has already is not logged again."""
    metrics = json.loads((model / "metrics.json").read_text(encoding="utf-8"))
    entity, project = settings.project.split("/")
    with wandb.init(
        entity=entity,
        project=project,
        id=settings.run_id,
        resume="allow",
        job_type="retrain",
        config={"data": settings.data, "commit": settings.commit, "workflow_run": settings.run_url},
        settings=wandb.Settings(console="off", save_code=False, x_disable_stats=True),
    ) as run:
        run.use_artifact(settings.data)
        artifact = wandb.Artifact(settings.name, type="model", metadata=metrics | {"data": settings.data})
        artifact.add_dir(str(model))
        logged = run.log_artifact(artifact).wait()
        linked = run.link_artifact(logged, settings.link_to)
        run.summary.update(metrics)
    if linked is None:
        raise SystemExit(f"W&B did not link it to {settings.link_to}: may this key write there?")
    return str(linked.qualified_name)


def tell(environ: Mapping[str, str], file: str, line: str) -> None:
    """Add a line to one of the runner's files; outside a workflow, print it."""
    if file in environ:
        with Path(environ[file]).open("a", encoding="utf-8") as out:
            out.write(f"{line}\n")
    else:
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
