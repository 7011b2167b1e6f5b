"""What is to be written to a version in W&B, and what of it has to be changed for that: pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from registry_client.errors import ConfigurationError, InvalidReferenceError
from registry_client.reference import ArtifactRef, CollectionPath, is_version_alias, parse_reference

NAMES = ("alias", "remove-alias", "tag", "remove-tag", "metadata", "link")
LATEST = "latest"  # W&B itself gives it to whatever is linked last.
_LONGEST_NAME = 128
_MOST_METADATA = 100
_TAG = re.compile(r"[-\w]+( +[-\w]+)*")


@dataclass(frozen=True)
class Marks:
    """What somebody wants written to a version.

    Attributes:
        aliases: To have in its collection; each leaves the version that had it.
        without_aliases: Not to have there.
        tags: To have; a tag belongs to the version, in every collection.
        without_tags: Not to have.
        metadata: Keys to have, each with its text.
        links: Other collections to be in, each with an alias to have there; ``latest`` comes by itself.
    """

    aliases: tuple[str, ...] = ()
    without_aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    without_tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    links: tuple[ArtifactRef, ...] = ()

    def __bool__(self) -> bool:
        return any(
            (self.aliases, self.without_aliases, self.tags, self.without_tags, self.metadata, self.links)
        )

    @classmethod
    def parse(cls, given: Mapping[str, Sequence[str]]) -> Marks:
        """Read what is given under each of ``NAMES``; a ConfigurationError names all that is wrong."""
        lines = {name: tuple(dict.fromkeys(given.get(name, ()))) for name in NAMES}
        if problems := list(_problems(lines)):
            raise ConfigurationError("; ".join(problems))
        pairs = (line.partition("=") for line in lines["metadata"])
        return cls(
            aliases=lines["alias"],
            without_aliases=lines["remove-alias"],
            tags=lines["tag"],
            without_tags=lines["remove-tag"],
            metadata={key.strip(): value.strip() for key, _, value in pairs},
            links=tuple(map(_link, lines["link"])),
        )


@dataclass(frozen=True)
class Linking:
    """A collection that the version gets into, or gets an alias in."""

    collection: CollectionPath
    aliases: tuple[str, ...]
    is_new: bool = False

    def __str__(self) -> str:
        named = f" as {', '.join(self.aliases)}" if self.aliases else ""
        return f"link to {self.collection}{named}{' (a new collection)' if self.is_new else ''}"


@dataclass(frozen=True)
class Changes:
    """What W&B has to be told, so that a version carries its marks; what is there already is left out.

    Attributes:
        metadata: The keys that change, each with its text.
        whole_metadata: All of it, as it is to be: W&B takes no less.
    """

    aliases: tuple[str, ...] = ()
    without_aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    without_tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    whole_metadata: Mapping[str, Any] = field(default_factory=dict)
    links: tuple[Linking, ...] = ()

    @property
    def of_the_source(self) -> bool:
        """Whether something changes that belongs to the version where it was logged."""
        return bool(self.tags or self.without_tags or self.metadata)

    def parts(self) -> Iterator[Changes]:
        """What W&B takes at a time; what it refuses most is asked for first."""
        every = [Changes(aliases=self.aliases), Changes(without_aliases=self.without_aliases)]
        every += [Changes(links=(each,)) for each in self.links]
        every.append(replace(self, aliases=(), without_aliases=(), links=()))
        yield from (part for part in every if part.lines())

    def lines(self) -> tuple[str, ...]:
        """Each change in words, in the order in which they are made."""
        return (
            *(f"alias {each}" for each in self.aliases),
            *(f"no alias {each}" for each in self.without_aliases),
            *map(str, self.links),
            *(f"tag {each}" for each in self.tags),
            *(f"no tag {each}" for each in self.without_tags),
            *(f"metadata {key}" for key in self.metadata),
        )


def needed(
    marks: Marks,
    *,
    aliases: Sequence[str],
    tags: Sequence[str],
    metadata: Mapping[str, Any],
    links: Sequence[Linking],
) -> Changes:
    """What has to be changed, where the version has these aliases, tags and metadata now.

    Raises:
        ConfigurationError: It would have more metadata than W&B takes.
    """
    changed = {key: value for key, value in marks.metadata.items() if metadata.get(key) != value}
    whole = {**metadata, **changed}
    if changed and len(whole) > _MOST_METADATA:
        raise ConfigurationError(
            f"the version would have {len(whole)} keys of metadata, and W&B takes {_MOST_METADATA}"
        )
    return Changes(
        aliases=tuple(each for each in marks.aliases if each not in aliases),
        without_aliases=tuple(each for each in marks.without_aliases if each in aliases),
        tags=tuple(each for each in marks.tags if each not in tags),
        without_tags=tuple(each for each in marks.without_tags if each in tags),
        metadata=changed,
        whole_metadata=whole if changed else {},
        links=tuple(links),
    )


def _problems(lines: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for alias in (*lines["alias"], *lines["remove-alias"]):
        yield from _wrong_alias(alias)
    for tag in (*lines["tag"], *lines["remove-tag"]):
        if not _TAG.fullmatch(tag) or len(tag) > _LONGEST_NAME:
            yield f"the tag {tag[:40]!r}: want letters, digits, '_', '-' and spaces between, at most 128"
    for kind in ("alias", "tag"):
        both = [each for each in lines[kind] if each in lines[f"remove-{kind}"]]
        yield from (f"the {kind} {each!r} is to be added and removed" for each in both)
    for line in lines["metadata"]:
        if not line.partition("=")[0].strip() or "=" not in line:
            yield f"the metadata {line[:40]!r}: want KEY=VALUE"
    for target in lines["link"]:
        yield from _wrong_link(target)


def _wrong_alias(alias: str) -> Iterator[str]:
    if not alias.strip() or not alias.isprintable() or set(alias) & set(":/") or len(alias) > _LONGEST_NAME:
        yield f"the alias {alias[:40]!r}: want at most 128 characters without ':' and '/'"
    elif is_version_alias(alias):
        yield f"the alias {alias!r} is a version, which W&B alone gives"


def _wrong_link(target: str) -> Iterator[str]:
    try:
        yield from _wrong_alias(_link(target).alias)
    except (InvalidReferenceError, AttributeError):
        yield f"the link {target[:80]!r}: want [ORG/]wandb-registry-NAME/COLLECTION or that and :ALIAS"


def _link(target: str) -> ArtifactRef:
    found = parse_reference(target if ":" in target else f"{target}:{LATEST}")
    if not isinstance(found, ArtifactRef):
        raise InvalidReferenceError(f"{target} is a version; want a collection")
    return found
