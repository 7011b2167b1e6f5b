"""The step summary: what was downloaded and proven, for a person; nothing in it can be forged.

It is one block of HTML without an empty line, in which GitHub reads no Markdown, so escaping HTML is enough.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from registry_client.escaping import printable
from registry_client.manifest import ManifestEntry
from registry_client.outputs import Downloaded, image_tag
from registry_client.progress import in_words
from registry_client.trigger import Trigger
from registry_client.version import ArtifactVersion, DigestAlgorithm

_FILES_SHOWN = 20
_LONGEST_CELL = 300
_LIMITS = {
    DigestAlgorithm.MD5: "MD5 finds damage, but not a forger who may write to the file store.",
    DigestAlgorithm.XXH128: "XXH128 finds damage, but not a forger who may write to the file store.",
}


def summary(version: ArtifactVersion, trigger: Trigger, done: Downloaded | None) -> str:
    """The summary of one step; ``done`` is None when it resolved only."""
    rows = "".join(
        f"<tr><th align=left>{name}</th><td>{value}</td></tr>\n"
        for name, value in _rows(version, trigger, done)
    )
    title = f"{_noun(version)} {_code(f'{version.collection.name}:{version.version}')}"
    how = "resolved" if done is None else "downloaded and verified"
    files = () if done is None else done.files
    return f"<h3>{title} {how}</h3>\n<table>\n{rows}</table>\n{_listing(files)}"


def _rows(version: ArtifactVersion, trigger: Trigger, done: Downloaded | None) -> Iterator[tuple[str, str]]:
    yield "Version", f"{_link(version.name, version.url)}"
    if version.source_name != version.name:
        yield "Logged as", _code(version.source_name)
    if promoted := _promoted(trigger):
        yield "Promoted", promoted
    yield "Aliases", _codes(version.aliases)
    if version.tags:
        yield "Tags", _codes(version.tags)
    yield "Created", f"{version.created_at:%Y-%m-%d %H:%M} UTC"
    yield "Size", f"{in_words(version.size)} in {version.file_count} file(s)"
    yield "Digest", f"{_code(version.digest)} ({version.digest_algorithm.name})"
    yield "Image tag", _code(image_tag(version))
    if done is not None:
        yield "Directory", _code(done.path)
        if done.context:
            yield "Build context", _code(done.context)
        yield "Downloaded", _downloaded(version, done)
        yield "Verified", _verified(version, done.files)


def _promoted(trigger: Trigger) -> str:
    words = [
        f"to {_code(trigger.alias)}" if trigger.alias else "",
        f"by {_code(trigger.author)}" if trigger.author else "",
        f"through the automation {_code(trigger.automation)}" if trigger.automation else "",
        f"({_code(trigger.event)})" if trigger.event else "",
    ]
    return " ".join(word for word in words if word)


def _downloaded(version: ArtifactVersion, done: Downloaded) -> str:
    words = [f"{in_words(done.fetched)} fetched"]
    if done.reused:
        words.append(f"{in_words(done.reused)} were here already")
    if len(done.files) < version.file_count:
        words.append(f"{len(done.files)} file(s) selected")
    if done.left_out:
        words.append(f"{done.left_out} file(s) outside W&amp;B left out")
    return ", ".join(words)


def _verified(version: ArtifactVersion, files: Sequence[ManifestEntry]) -> str:
    algorithms = sorted({entry.algorithm.name for entry in files} | {version.digest_algorithm.name})
    return (
        f"the manifest against the artifact's digest, and the size and {' or '.join(algorithms)} of each of "
        f"{len(files)} file(s), before the directory appeared. {_LIMITS[version.digest_algorithm]}"
    )


def _listing(files: Sequence[ManifestEntry]) -> str:
    if not files:
        return ""
    shown = "".join(
        f"<tr><td>{_code(entry.path)}</td><td align=right>{in_words(entry.size)}</td>"
        f"<td>{entry.algorithm.name} {_code(entry.digest)}</td></tr>\n"
        for entry in files[:_FILES_SHOWN]
    )
    more = len(files) - _FILES_SHOWN
    rest = f"<p>… and {more} more</p>\n" if more > 0 else ""
    return f"<details><summary>Files</summary>\n<table>\n{shown}</table>\n{rest}</details>\n"


def _noun(version: ArtifactVersion) -> str:
    return "Model" if version.type == "model" else "Artifact"


def _link(text: str, url: str) -> str:
    if not url.startswith(("https://", "http://")):
        return _code(text)
    return f'<a href="{html.escape(printable(url))}">{_code(text)}</a>'


def _codes(texts: Sequence[str]) -> str:
    return " ".join(_code(text) for text in texts) or "none"


def _code(text: str) -> str:
    cut = text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 1] + "…"
    return f"<code>{html.escape(printable(cut))}</code>"
