"""Who may post webhooks: sources, each with secrets of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from receiver.config.environment import SOURCES, Fallbacks
from receiver.config.problems import Place
from receiver.config.told import Told
from receiver.config.types import Source
from receiver.secret import Secret
from receiver.settings import SHORT_SECRET


def sources_of(told: Told, fallen: Fallbacks) -> dict[str, Source]:
    """The sources of the file, else the one of the environment."""
    if "sources" not in told.document:
        return _from_environment(told, fallen)
    sections = told.named("sources")
    if not sections and not told.is_broken("sources"):
        told.problems.add(told.document.at("sources"), "has none; want at least one, like wandb")
    sources = {
        name: Source(
            name,
            tuple(dict.fromkeys(section.get("secrets", ()))),
            tuple(dict.fromkeys(section.get("tokens", ()))),
            section.get("entities", ()),
        )
        for name, section in sections.items()
    }
    _check_shared(told, sources)
    return sources


def _from_environment(told: Told, fallen: Fallbacks) -> dict[str, Source]:
    if SOURCES in fallen.tells:
        return {"wandb": Source("wandb", fallen.settings.secrets, fallen.settings.tokens)}
    if "receives" in told.halves:
        told.problems.add(
            told.document.at("sources"),
            "is missing; want sources: {wandb: {secrets: [{env: WANDB_WEBHOOK_SECRET}]}}, "
            "or anyone could dispatch",
        )
    return {}


def _check_shared(told: Told, sources: Mapping[str, Source]) -> None:
    """Note a secret that proves too little: one of two sources, or one that travels as a token."""
    owners: dict[str, tuple[str, str]] = {}
    for source, kind, secret in _every(sources):
        place = _place_of(told, secret, f"sources.{source}.{kind}")
        owner, known_as = owners.setdefault(secret.value, (source, kind))
        if kind != known_as:
            told.problems.add(
                place,
                f"is the same as a secret in {owner}.{known_as}; a token is sent with each webhook, "
                "so want two different values",
            )
        elif owner != source:
            told.problems.add(
                place, f"is the same as one of {owner}; want its own, or each could speak for the other"
            )
        _warn_of_weak(told, place, secret)


def _every(sources: Mapping[str, Source]) -> Iterator[tuple[str, str, Secret]]:
    for source in sources.values():
        for kind, values in (("secrets", source.secrets), ("tokens", source.tokens)):
            yield from ((source.name, kind, secret) for secret in values if secret.value)


def _place_of(told: Told, secret: Secret, where: str) -> Place:
    resolved = told.reading.secrets.resolved
    return next(
        each.place for each in resolved if each.secret == secret and each.place.where.startswith(where)
    )


def _warn_of_weak(told: Told, place: Place, secret: Secret) -> None:
    if len(secret.value) < SHORT_SECRET:
        told.problems.warn(
            place,
            f"has {len(secret.value)} characters; "
            "want 32 random ones: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )
    if secret.value != secret.value.strip():
        told.problems.warn(place, "starts or ends with a space; W&B uses it as it is, and so do we")
