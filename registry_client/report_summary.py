"""The step summary of a report: what was written where, for a person; nothing in it can be forged.

It is one block of HTML without an empty line, in which GitHub reads no Markdown, so escaping HTML is enough.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from registry_client.escaping import printable

_LONGEST_CELL = 300


@dataclass(frozen=True)
class Done:
    """What one report came to.

    Attributes:
        name: The version's.
        page: Its page in W&B; empty where W&B was not asked.
        written: Each change in W&B, in words.
        wanted: Whether any was asked for.
        deployment: GitHub's id of it; None without one.
        told: Whether the receiver knew what it was told of; None where it was not told.
        problems: What went wrong.
    """

    name: str
    state: str
    page: str = ""
    written: tuple[str, ...] = ()
    wanted: bool = False
    image: str = ""
    environment: str = ""
    environment_url: str = ""
    deployment: int | None = None
    told: bool | None = None
    problems: tuple[str, ...] = ()


def summary(done: Done) -> str:
    """The summary of one report."""
    rows = "".join(f"<tr><th align=left>{name}</th><td>{value}</td></tr>\n" for name, value in _rows(done))
    return f"<h3>{_code(done.name)}: {html.escape(done.state)}</h3>\n<table>\n{rows}</table>\n"


def _rows(done: Done) -> Iterator[tuple[str, str]]:
    if done.page:
        yield "Version", _link(done.name, done.page)
    if done.wanted:
        yield "Written in W&amp;B", _codes(done.written) or "nothing: it was so already"
    if done.image:
        yield "Image", _code(done.image)
    if done.deployment is not None:
        where = _link(done.environment, done.environment_url)
        yield "Deployment", f"{where}, GitHub's {done.deployment}"
    if done.told is not None:
        yield "Receiver", "told" if done.told else "told; it knows nothing of what started this job"
    for problem in done.problems:
        yield "Problem", html.escape(printable(problem))


def _codes(texts: Sequence[str]) -> str:
    return ", ".join(map(_code, texts))


def _link(text: str, url: str) -> str:
    if not url.startswith(("https://", "http://")):
        return _code(text)
    return f'<a href="{html.escape(printable(url))}">{_code(text)}</a>'


def _code(text: str) -> str:
    cut = text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 1] + "…"
    return f"<code>{html.escape(printable(cut))}</code>"
