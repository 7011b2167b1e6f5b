"""README says what the code does: its blocks, names and reasons are held against the files they speak of."""

from __future__ import annotations

import argparse
import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import validate

import registry_client
from receiver.config import json_schema, read_config
from receiver.config.document import load, plain
from receiver.config.problems import Problems
from receiver.event import read_event
from receiver.settings import NAMES
from registry_client import errors
from registry_client.cli import add_commands
from tests.stand_ins.wandb import WandbStandIn

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("receiver/**/*.py")))
LINKS = [
    (page, link)
    for page in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/client.md", "docs/routes.md")
    for link in re.findall(r"\]\((?!https?://)([^)]+)\)", (ROOT / page).read_text(encoding="utf-8"))
]
# Bases that are never raised as they are.
ABSTRACT = {"receiver-error", "registry-error", "rejected", "unauthorized", "bad-payload"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    """What stands below a heading, up to the next of its level or above."""
    level = title.split(" ", maxsplit=1)[0]
    rest = README.split(f"\n{title}\n", 1)[1]
    return re.split(rf"\n#{{1,{len(level)}}} ", rest, maxsplit=1)[0]


def reasons_in(title: str) -> set[str]:
    rows = re.findall(r"^\| (`[a-z0-9-]+`(?:, `[a-z0-9-]+`)*) \|", section(title), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([a-z0-9-]+)`", row)}


def test_the_workflow_is_the_example() -> None:
    """
    The workflow to copy is examples/build-and-deploy.yml, which the linters and the real runner see.
    """
    example = (ROOT / "examples" / "build-and-deploy.yml").read_text(encoding="utf-8")

    assert blocks("yaml")[0] == example[example.index("name: ") :]


def test_the_payload_to_paste_is_the_sample() -> None:
    """
    The payload is the one that the tests read, and W&B's Test button with it is answered as a test.
    """
    sample = (ROOT / "tests" / "samples" / "readme_template.json").read_text(encoding="utf-8")

    assert blocks("json")[0].strip() == sample.strip()
    assert type(read_event(sample.encode())).__name__ == "TrialMessage"


def test_the_handoff_object_is_json() -> None:
    """
    The object of ours that README shows is one, with the fields that plan() makes.
    """
    shown = json.loads("{" + blocks("json")[1] + "}")["handoff"]
    made = re.search(r"def _own.*?return \{(.*?)\}\n", SOURCES, re.DOTALL)

    assert made is not None
    assert list(shown) == re.findall(r'"(\w+)":', made[1])


@pytest.mark.parametrize("kind", ["inputs", "outputs"])
def test_each_input_and_output_has_a_section(kind: str) -> None:
    """
    README has a section for each input and output of action.yml, in its order, and no other.
    """
    titles = re.findall(r"^#### `(.+)`$", section(f"### {kind.capitalize()}"), re.MULTILINE)

    assert titles == list(ACTION[kind])


def test_the_report_is_described() -> None:
    """
    Each input of report/action.yml has its row, in its order, and each output is named.
    """
    report: dict[str, Any] = yaml.safe_load((ROOT / "report" / "action.yml").read_text(encoding="utf-8"))
    text = section("## The report")
    rows = re.findall(r"^\| (`.+?`) \|", text, re.MULTILINE)
    after = text[text.index("\nOutputs: ") :]

    told = [name for row in rows for name in re.findall(r"`([a-z-]+)`", row)]
    assert sorted(told) == sorted(report["inputs"])
    assert re.findall(r"(?:^|[:;] )`([a-z]+)`,", after.split("\n\n")[0].replace("\n", " ")) == list(
        report["outputs"]
    )


def test_each_default_is_told_first() -> None:
    """
    Each input's section begins with its default.
    """
    bodies = re.findall(r"^#### `.+`\n(.+)$", section("### Inputs"), re.MULTILINE)

    assert all(body.startswith("Default: ") for body in bodies)


def test_each_variable_is_named() -> None:
    """
    Every setting of the receiver is in README.
    """
    plain = {name for name in NAMES if not name.endswith(("_FILE", "_PREVIOUS"))} - {"HANDOFF_URL"}

    assert plain <= set(re.findall(r"`([A-Z_]+)`", section("### Variables")))


def test_each_reason_of_the_client_is_explained_with_its_exit_code() -> None:
    """
    README's table has the reason and exit code of every error that the client raises.
    """
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.RegistryError)
    ]
    wanted = {(kind.reason, str(kind.exit_code)) for kind in kinds if kind.reason not in ABSTRACT}
    rows = re.findall(
        r"^\| `([a-z-]+)` \| (\d+) \|", section("### From the client and the Action"), re.MULTILINE
    )

    assert set(rows) == wanted


def test_each_reason_of_the_receiver_is_explained() -> None:
    """
    Every reason that a webhook or a dispatch can end with is in a table, and no table has one that is gone.
    """
    raised = set(re.findall(r'\breason(?:: str)?\s*=\s*"([a-z0-9-]+)"', SOURCES))
    raised |= set(
        re.findall(
            r'(?:OutcomeKind\.\w+|CredentialsError\.\w+\(|_refused\(\s*answer),?\s*"([a-z0-9-]+)"', SOURCES
        )
    )
    told = reasons_in("### From the receiver, to W&B") | reasons_in("### From GitHub, with a dispatch")
    told |= set(re.findall(r"`([a-z-]+)`", section("### From the receiver, to W&B")))

    assert raised - ABSTRACT - {"lost-lease"} <= told
    made_up = {reason for reason in told if f'"{reason}"' not in SOURCES and "-" in reason}
    assert made_up <= {"github-4xx", "post-4xx"}


def test_each_option_of_the_client_is_described() -> None:
    """
    docs/client.md's commands have every option of the client's, and none that is gone.
    """
    subparsers = argparse.ArgumentParser().add_subparsers()
    add_commands(subparsers)
    helps = "".join(parser.format_help() for parser in subparsers.choices.values())
    commands = (ROOT / "docs" / "client.md").read_text(encoding="utf-8").split("\n## ")[1]

    assert set(re.findall(r"--[a-z-]+", commands)) == set(re.findall(r"--[a-z-]+", helps)) - {"--help"}


@pytest.mark.parametrize("page", ["README.md", "docs/client.md"])
def test_its_python_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What is shown of the library runs as it stands, and the directory is there.
    """
    text = (ROOT / page).read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "shown.py").write_text(shown, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with WandbStandIn() as wandb:
        wandb.add_organization("Acme", entity="acme-org", teams=["acme"])
        logged = wandb.log_artifact("acme/training/nature", {"a.safetensors": b"a", "config/b.json": b"{}"})
        wandb.link(logged, "acme-org/wandb-registry-model/nature", aliases=["production"])
        monkeypatch.setenv("WANDB_BASE_URL", wandb.url)
        monkeypatch.setenv("WANDB_API_KEY", wandb.api_key)
        runpy.run_path("shown.py")

    assert (tmp_path / "model" / "config" / "b.json").read_bytes() == b"{}"


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_links_lead_somewhere(page: str, link: str) -> None:
    """
    Every link inside the repository has its file, and every link to a heading that heading.
    """
    path, _, anchor = link.partition("#")
    target = (ROOT / page).parent / path if path else ROOT / page
    titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
    headings = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

    assert target.exists()
    assert not anchor or anchor in headings


def test_one_version_everywhere() -> None:
    """
    pyproject.toml and the package say the same version.
    """
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

    assert f'\nversion = "{registry_client.__version__}"\n' in project


@pytest.mark.parametrize("page", ["README.md", "docs/routes.md"])
def test_each_configuration_that_is_shown_can_be_read(page: str) -> None:
    """
    Every handoff.yaml on the pages is right, by the reader and by the schema that editors use.
    """
    text = (ROOT / page).read_text(encoding="utf-8")
    shown = [
        block
        for block in re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        if block.startswith("sources:")
    ]

    assert shown
    for block in shown:
        config = read_config(block, file=page, environ={}, receives=False, dispatches=False)
        assert config.routes
        document = load(block, Problems(page))
        assert document is not None
        validate(plain(document), json_schema())


def test_the_page_on_routes_has_the_file_that_is_served() -> None:
    """
    The whole file in docs/routes.md is the one that the tests serve.
    """
    sample = (ROOT / "tests" / "samples" / "handoff.yaml").read_text(encoding="utf-8")

    assert f"```yaml\n{sample}```" in (ROOT / "docs" / "routes.md").read_text(encoding="utf-8")


def test_the_page_on_routes_names_every_key() -> None:
    """
    Every key that handoff.yaml may have stands in docs/routes.md.
    """
    text = (ROOT / "docs" / "routes.md").read_text(encoding="utf-8")

    assert [
        name for name in sorted(_keys(json_schema())) if not re.search(rf"\b{re.escape(name)}\b", text)
    ] == []


def _keys(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {name for each in schema for name in _keys(each)}
    if not isinstance(schema, dict):
        return set()
    own = set(schema["properties"]) if isinstance(schema.get("properties"), dict) else set()
    return own | {name for each in schema.values() for name in _keys(each)}
