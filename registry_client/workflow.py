"""What a step tells GitHub's runner: outputs, summary, annotations, masks, and a log nobody can forge."""

from __future__ import annotations

import io
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from registry_client.errors import RegistryError
from registry_client.escaping import escaped, escaped_property, neutral, printable

# https://docs.github.com/actions/reference/limits: 1 MB for a job's outputs, 1 MiB for a step's summary.
MOST_OF_OUTPUTS = 900_000
_MOST_OF_SUMMARY = 1024 * 1024
_LONGEST_ANNOTATION = 4096


class Workflow:
    """The runner's side of one step; without a runner its files are left out and only the log is written."""

    def __init__(self, environ: Mapping[str, str], stdout: TextIO) -> None:
        self._stdout = stdout
        self._outputs = environ.get("GITHUB_OUTPUT")
        self._summary = environ.get("GITHUB_STEP_SUMMARY")
        self._masked: set[str] = set()
        self._delimiter = f"ghadelimiter_{secrets.token_hex(16)}"

    def log(self, text: str) -> None:
        """Print lines, whatever they hold, that the runner takes for nothing else."""
        self._print("\n".join(neutral(line) for line in text.splitlines()))

    def log_stream(self) -> TextIO:
        """The same as a stream, for whoever writes whole lines to one."""
        return _LogStream(self)

    def mask(self, secret: str) -> None:
        """Have the runner replace the secret, and each line of it, in every log from here on."""
        for line in dict.fromkeys((secret, *secret.splitlines())):
            if line.strip() and line not in self._masked:
                self._masked.add(line)
                self._print(f"::add-mask::{escaped(line)}")

    def error(self, title: str, message: str) -> None:
        """Annotate the run with an error."""
        self._annotate("error", title, message)

    def warning(self, title: str, message: str) -> None:
        """Annotate the run with a warning."""
        self._annotate("warning", title, message)

    def set_outputs(self, outputs: Mapping[str, str]) -> None:
        """Set the step's outputs: all, or none with a RegistryError."""
        size = sum(output_size(value) for value in outputs.values())
        if size > MOST_OF_OUTPUTS:
            raise RegistryError(f"the outputs have {size} bytes together, but GitHub takes {MOST_OF_OUTPUTS}")
        text = "".join(self._heredoc(name, value) for name, value in outputs.items())
        if self._outputs:
            _append(self._outputs, text)

    def summarize(self, text: str) -> None:
        """Add to the step's summary; one that GitHub would drop becomes a warning instead."""
        size = len(text.encode("utf-8", "backslashreplace"))
        if size > _MOST_OF_SUMMARY:
            self.warning("Handoff", f"the summary has {size} bytes, more than GitHub shows; it was left out")
        elif self._summary:
            _append(self._summary, text)

    def _heredoc(self, name: str, value: str) -> str:
        if self._delimiter in value or not re.fullmatch(r"[a-z][a-z0-9-]*", name):
            raise RegistryError(f"the output {name!r} cannot be written: it holds what should end it")
        return f"{name}<<{self._delimiter}\n{value}\n{self._delimiter}\n"

    def _annotate(self, kind: str, title: str, message: str) -> None:
        lines = "\n".join(printable(line) for line in message.splitlines())
        cut = lines if len(lines) <= _LONGEST_ANNOTATION else lines[: _LONGEST_ANNOTATION - 1] + "…"
        self._print(f"::{kind} title={escaped_property(printable(title))}::{escaped(cut)}")

    def _print(self, lines: str) -> None:
        self._stdout.write(lines + "\n")
        self._stdout.flush()


class _LogStream(io.StringIO):
    def __init__(self, workflow: Workflow) -> None:
        super().__init__()
        self._workflow = workflow

    def write(self, text: str, /) -> int:
        self._workflow.log(text)
        return len(text)


def output_size(value: str) -> int:
    """How much of the limit on outputs the value takes: GitHub counts in UTF-16."""
    return len(value.encode("utf-16-le", "surrogatepass"))


def _append(file: str, text: str) -> None:
    with Path(file).open("a", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
        stream.write(text)
