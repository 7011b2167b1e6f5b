"""The runner's protocol: what is said arrives whole, and what others wrote commands nothing."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_client.errors import RegistryError
from registry_client.workflow import MOST_OF_OUTPUTS, Workflow, output_size
from tests.stand_ins.runner import _heredocs

NASTY = [
    "::set-output name=path::/etc",
    "  ::add-mask::x",
    "x\n::error::forged",
    "x\r::error::forged",
    "##[set-output name=path;]/etc",
    "###[error]x",
    ":::error::x",
    "a ##[add-path]/tmp",
    "\x1b[2J\x1b[31mred",
    "\u2028::error::x",
    "\ud800",
]


class Step:
    """One step's files and log."""

    def __init__(self, folder: Path) -> None:
        self.output, self.summary = folder / "output", folder / "summary"
        self.stdout = io.StringIO()
        environ = {"GITHUB_OUTPUT": str(self.output), "GITHUB_STEP_SUMMARY": str(self.summary)}
        self.workflow = Workflow(environ, self.stdout)

    @property
    def log(self) -> str:
        """What the runner reads."""
        return self.stdout.getvalue()

    @property
    def outputs(self) -> dict[str, str]:
        """What the runner makes of the file."""
        return _heredocs(self.output.read_bytes().decode())


@pytest.fixture
def step(tmp_path: Path) -> Step:
    """A step under a runner."""
    return Step(tmp_path)


class TestOutputs:
    """Outputs."""

    def test_they_arrive_as_they_were(self, step: Step) -> None:
        """Whatever they hold: line ends, other outputs, delimiters, other scripts."""
        outputs = {"a": "x\ny=z\nb<<EOF\nEOF", "b-2": "", "c": "猫 = ::error::", "d": "x\r\ny\r"}
        step.workflow.set_outputs(outputs)
        assert step.outputs == outputs
        assert step.log == ""

    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_no_value_adds_another_output(self, tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
        """Nothing but the one output comes out."""
        step = Step(tmp_path_factory.mktemp("step"))
        step.workflow.set_outputs({"a": value})
        assert step.outputs == {"a": value}

    def test_a_value_with_the_delimiter_in_it_is_refused(self, step: Step) -> None:
        """Should anybody guess 128 random bits."""
        with pytest.raises(RegistryError, match="holds what should end it"):
            step.workflow.set_outputs({"a": f"x\n{step.workflow._delimiter}\n"})
        assert not step.output.exists()

    def test_the_delimiter_is_another_in_each_step(self, tmp_path: Path) -> None:
        """Nobody can learn it from an earlier run."""
        assert Step(tmp_path).workflow._delimiter != Step(tmp_path).workflow._delimiter
        assert len(Step(tmp_path).workflow._delimiter.rpartition("_")[2]) == 32

    @pytest.mark.parametrize("name", ["", "a=b", "a\nb", "A"])
    def test_a_name_that_is_none_is_refused(self, step: Step, name: str) -> None:
        """Names are ours, lower case."""
        with pytest.raises(RegistryError):
            step.workflow.set_outputs({name: "x"})

    def test_too_much_is_refused_before_anything_is_written(self, step: Step) -> None:
        """GitHub's limit counts in UTF-16."""
        half = "x" * (MOST_OF_OUTPUTS // 4)
        step.workflow.set_outputs({"a": half, "b": half})
        with pytest.raises(RegistryError, match="but GitHub takes 900000"):
            step.workflow.set_outputs({"a": half, "b": half + "x"})
        assert list(step.outputs) == ["a", "b"]

    def test_sizes_count_in_utf_16(self) -> None:
        """A letter has two bytes, an emoji four, half a character two."""
        assert [output_size(text) for text in ("", "a", "é", "🐈", "\ud800")] == [0, 2, 2, 4, 2]


class TestSummary:
    """The step summary."""

    def test_it_is_added(self, step: Step) -> None:
        """After what is there already."""
        step.summary.write_text("before\n", encoding="utf-8")
        step.workflow.summarize("now ü\n")
        assert step.summary.read_bytes() == "before\nnow ü\n".encode()

    def test_one_that_github_would_drop_becomes_a_warning(self, step: Step) -> None:
        """It is not written at all."""
        step.workflow.summarize("x" * (1024 * 1024))
        step.workflow.summarize("x" * (1024 * 1024 + 1))
        assert step.summary.stat().st_size == 1024 * 1024
        assert step.log.startswith("::warning title=Handoff::the summary has 1048577 bytes")


class TestLog:
    """The log."""

    @pytest.mark.parametrize("text", NASTY)
    def test_no_text_becomes_a_command(self, step: Step, text: str) -> None:
        """Neither of the runner's two forms is left in any line, nor a control character."""
        step.workflow.log(text)
        step.workflow.log_stream().write(f"{text}\n")
        for line in step.log.splitlines():
            assert "##[" not in line
            assert "::" not in line
            assert line.isprintable()

    def test_ordinary_text_stays_as_it_is(self, step: Step) -> None:
        """What commands nothing is not touched."""
        step.workflow.log("acme/models/cats:v3 is #1: [ok] 100% (http://127.0.0.1:80)\nsecond line")
        assert step.log == "acme/models/cats:v3 is #1: [ok] 100% (http://127.0.0.1:80)\nsecond line\n"


class TestAnnotations:
    """Annotations and masks."""

    def test_an_error_arrives_escaped(self, step: Step) -> None:
        """Message and title are read back by the runner as they were."""
        step.workflow.error("a: b, c", "50% of\nmodel.bin")
        assert step.log == "::error title=a%3A b%2C c::50%25 of%0Amodel.bin\n"

    @pytest.mark.parametrize("text", NASTY)
    def test_a_message_stays_one_command(self, step: Step, text: str) -> None:
        """One line comes out, whatever goes in."""
        step.workflow.error("t", text)
        assert step.log.startswith("::error title=t::")
        assert step.log.count("\n") == 1
        assert step.log.rstrip("\n").isprintable()

    def test_a_long_message_is_cut(self, step: Step) -> None:
        """GitHub shows 4,096 characters."""
        step.workflow.warning("t", "x" * 5000)
        assert step.log == f"::warning title=t::{'x' * 4095}…\n"

    def test_a_secret_is_masked_line_by_line(self, step: Step) -> None:
        """Whole, and each line of it; an empty one is not."""
        step.workflow.mask("first%\n\nsecond")
        assert step.log == "::add-mask::first%25%0A%0Asecond\n::add-mask::first%25\n::add-mask::second\n"
        step.workflow.mask("")
        assert step.log.count("\n") == 3


def test_without_a_runner_only_the_log_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    """On a laptop there are no such files."""
    stdout = io.StringIO()
    workflow = Workflow({}, stdout)
    workflow.set_outputs({"a": "b"})
    workflow.summarize("x")
    workflow.log("y")
    assert stdout.getvalue() == "y\n"
    assert capsys.readouterr().out == ""
