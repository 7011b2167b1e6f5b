"""What happened in W&B, read from the body of a webhook: pure, no I/O."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from receiver import strict_json
from receiver.errors import BadPayloadError
from receiver.strict_json import shown
from registry_client.errors import InvalidReferenceError
from registry_client.reference import ArtifactId, ArtifactRef, is_version_alias, parse_reference

LONGEST_FIELD = 1024
LONGEST_DISPATCH_TYPE = 100
ARTIFACT_EVENTS = frozenset(
    {
        "ADD_ARTIFACT_ALIAS",
        "ADD_ARTIFACT_TAG",
        "CREATE_ARTIFACT",
        "LINK_ARTIFACT",
        "REMOVE_ARTIFACT_TAG",
        "UNLINK_ARTIFACT",
        "UPDATE_ARTIFACT_ALIAS",
    }
)
OTHER_EVENTS = frozenset(
    {
        "ADD_COLLECTION_TAG",
        "REMOVE_COLLECTION_TAG",
        "RUN_METRIC",
        "RUN_METRIC_CHANGE",
        "RUN_METRIC_ZSCORE",
        "RUN_STATE",
        "WEAVE_METRIC_THRESHOLD",
    }
)
# On the page of webhooks in W&B's documentation.
WEBHOOK_VARIABLES = (
    "event_type",
    "event_author",
    "alias",
    "tag",
    "artifact_collection_name",
    "artifact_version",
    "artifact_version_string",
    "project_name",
    "entity_name",
)
# On the page of another action only: a webhook may have them or not.
EXTRA_VARIABLES = (
    "artifact_version_index",
    "automation_name",
    "run_name",
    "run_status",
    "metric_name",
    "metric_value",
    "metric_values",
    "metric_current_status",
    "metric_filter",
    "metric_filter_short",
)
VARIABLES = WEBHOOK_VARIABLES + EXTRA_VARIABLES
_SUBJECTS = ("artifact_version", "artifact_version_string", "artifact_collection_name", "run_name")
_LINE_ENDS = frozenset({"Cc", "Zl", "Zp"})  # Controls, line and paragraph ends: none is printable.
_VARIABLE = re.compile(r"\$\{([^{}]*)\}")


@dataclass(frozen=True)
class RegistryEvent:
    """A promotion, or any other event that an automation can post.

    Attributes:
        event: W&B's own name (``ADD_ARTIFACT_ALIAS``, ``LINK_ARTIFACT``, …); None when the body
            names only the dispatch (``BUILD_AND_DEPLOY``) and nothing tells.
        dispatch_type: What GitHub's ``event_type`` is to be: the body's word, else W&B's event.
        artifact_id: The global id in ``wandb-artifact://_id/…``; it never names another version.
        version: ``vN`` when the body tells it.  W&B does not say whether of the registry or of the source.
        fields: The documented variables that the body carries, under W&B's documented names, not empty.
        others: What else the body carries; forwarded only where a setting names it.
    """

    event: str | None
    dispatch_type: str
    artifact_id: str | None
    entity: str | None
    project: str | None
    collection: str | None
    version: str | None
    alias: str | None
    tag: str | None
    author: str | None
    automation: str | None
    fields: Mapping[str, str]
    others: Mapping[str, Any]


@dataclass(frozen=True)
class TrialMessage:
    """What W&B's Test button sends: nothing happened, and a person waits for our words.

    Attributes:
        unrendered: The fields that still hold a template variable; none when the body is ``{}``.
        unknown: The variables among them that W&B does not document.
        lacking: What a real delivery would need and the template does not have.
    """

    unrendered: tuple[str, ...]
    unknown: tuple[str, ...]
    lacking: tuple[str, ...]


@dataclass(frozen=True)
class _Body:
    """The two shapes of a body made one: ``dispatch`` is what a GitHub-shaped one asks for by itself."""

    dispatch: str | None
    fields: Mapping[str, str]
    others: Mapping[str, Any]


def read_event(body: bytes) -> RegistryEvent | TrialMessage:
    """Read the body of W&B's documentation, ``{"event_type": …, "client_payload": {…}}``, or a flat one.

    Stray quotes around values go, ``LINK_MODEL`` becomes ``LINK_ARTIFACT``, names keep every other byte.

    Raises:
        NotJsonError: It is no JSON.
        BadPayloadError: It is JSON, but no event can be read from it; the message says what was sought.
    """
    value = strict_json.load(body)
    if not isinstance(value, dict):
        raise BadPayloadError(
            f"The body: want a JSON object, got {_kind(value)}. The README has a payload to paste.",
            reason="not-an-object",
        )
    read = _body(value)
    return _trial(value, read) or _event(read)


def _body(value: Mapping[str, Any]) -> _Body:
    payload = value.get("client_payload")
    if "client_payload" not in value:
        return _Body(None, _fields(value), _others(value))
    if not isinstance(payload, dict):
        raise _bad_field("client_payload", f"want an object, got {_kind(payload)}")
    around = {name: inner for name, inner in value.items() if name != "client_payload"}
    above = _fields(around)
    dispatch = above.pop("event_type", None)
    return _Body(dispatch, {**above, **_fields(payload)}, {**_others(around), **_others(payload)})


def _fields(value: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: _text(name, value[name]) for name in VARIABLES if name in value}
    if texts.get("event_type") == "LINK_MODEL":  # What W&B's backend still calls it.
        texts["event_type"] = "LINK_ARTIFACT"
    return {name: text for name, text in texts.items() if text.strip()}


def _others(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: inner for name, inner in value.items() if name not in VARIABLES}


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _bad_field(name, f"want a string, got {_kind(value)}; put quotes around ${{…}}")
    if len(value) > LONGEST_FIELD:
        raise _bad_field(name, f"want at most {LONGEST_FIELD} characters, got {len(value)}")
    if not value.isprintable() and any(unicodedata.category(one) in _LINE_ENDS for one in value):
        raise _bad_field(name, f"holds a control character or a line end, got {shown(value)}")
    return _unquoted(value)


def _unquoted(text: str) -> str:
    """Without the quotes that W&B's documented example leaves around values."""
    bare = text.strip('"')
    return bare[1:-1] if len(bare) > 1 and bare[0] == bare[-1] == "'" else bare


def _trial(value: Mapping[str, Any], body: _Body) -> TrialMessage | None:
    """A test, when nothing is there or a variable is not filled in; else None.

    A variable that W&B does not document for webhooks, left as it is, makes no test of a real delivery.
    """
    texts = {**body.fields, **({"event_type": body.dispatch} if body.dispatch else {})}
    variables = {name: _VARIABLE.findall(text) for name, text in texts.items() if "${" in text}
    unrendered = tuple(name for name, found in variables.items() if found)
    known = [name for name in unrendered for variable in variables[name] if _is_known(variable)]
    if value and not set(known) - set(EXTRA_VARIABLES):
        return None
    return TrialMessage(
        unrendered=unrendered,
        unknown=tuple(name for found in variables.values() for name in found if not _is_known(name)),
        lacking=_lacking(texts),
    )


def _is_known(variable: str) -> bool:
    return variable in VARIABLES or variable.startswith("artifact_metadata.")


def _lacking(texts: Mapping[str, str]) -> tuple[str, ...]:
    lacking = [] if "event_type" in texts else ["event_type"]
    if not texts.keys() & set(_SUBJECTS):
        lacking.append("artifact_version")
    return tuple(lacking)


def _event(body: _Body) -> RegistryEvent:
    fields = _rendered(body.fields)
    event = _event_name(body.dispatch, fields.get("event_type"))
    dispatch_type = _dispatch_type(body.dispatch or fields.get("event_type"))
    _check_subject(event, fields)
    artifact, name = _references(fields)
    fixed = name.alias if name is not None and is_version_alias(name.alias) else None
    return RegistryEvent(
        event=event,
        dispatch_type=dispatch_type,
        artifact_id=artifact.value if artifact else None,
        entity=fields.get("entity_name") or (name.entity if name else None),
        project=fields.get("project_name") or (name.project if name else None),
        collection=fields.get("artifact_collection_name") or (name.collection if name else None),
        version=fixed or _version_of_index(fields.get("artifact_version_index")),
        alias=fields.get("alias") or (name.alias if name and not fixed else None),
        tag=fields.get("tag"),
        author=fields.get("event_author"),
        automation=fields.get("automation_name"),
        fields=fields,
        others=body.others,
    )


def _rendered(fields: Mapping[str, str]) -> dict[str, str]:
    """Without the extra variables that W&B left as they are; any other must be gone by now."""
    rendered = {}
    for name, text in fields.items():
        variables = _VARIABLE.findall(text) if "${" in text else []
        unknown = [variable for variable in variables if not _is_known(variable)]
        if unknown:
            raise _bad_field(name, f"W&B has no variable ${{{unknown[0]}}}", reason="unknown-variable")
        if not variables:
            rendered[name] = text
    return rendered


def _event_name(dispatch: str | None, inner: str | None) -> str | None:
    known = ARTIFACT_EVENTS | OTHER_EVENTS
    if dispatch is not None and inner is not None and re.fullmatch(r"[A-Z]+(_[A-Z0-9]+)*", inner):
        return inner  # The body names both; an event that W&B invents tomorrow is welcome.
    word = inner or dispatch
    return word if word in known else None


def _dispatch_type(word: str | None) -> str:
    if word is None:
        raise BadPayloadError(
            'No event in the body: looked for "event_type" in it and in its "client_payload". '
            "The README has a payload to paste.",
            reason="no-event",
        )
    if len(word) > LONGEST_DISPATCH_TYPE:
        raise _bad_field("event_type", f"GitHub takes {LONGEST_DISPATCH_TYPE} characters, got {len(word)}")
    return word


def _check_subject(event: str | None, fields: Mapping[str, str]) -> None:
    wanted = _SUBJECTS[:2] if event in ARTIFACT_EVENTS else _SUBJECTS
    if event in OTHER_EVENTS or any(name in fields for name in wanted):
        return
    got = ", ".join(sorted(fields)) or "no documented field"
    raise BadPayloadError(
        f"{event or 'The body'} names no artifact: looked for {', '.join(wanted)}, got {got}. "
        "The README has a payload to paste.",
        reason="no-artifact",
    )


def _references(fields: Mapping[str, str]) -> tuple[ArtifactId | None, ArtifactRef | None]:
    """What the two documented fields name; a good id makes up for a name in a form yet unknown."""
    artifact = _reference(fields, "artifact_version")
    try:
        name = _reference(fields, "artifact_version_string")
    except BadPayloadError:
        if not isinstance(artifact, ArtifactId):
            raise
        name = None
    both = (artifact, name)
    return (
        next((one for one in both if isinstance(one, ArtifactId)), None),
        next((one for one in reversed(both) if isinstance(one, ArtifactRef)), None),
    )


def _reference(fields: Mapping[str, str], name: str) -> ArtifactId | ArtifactRef | None:
    if name not in fields:
        return None
    try:
        return parse_reference(fields[name])
    except InvalidReferenceError as error:
        raise _bad_field(name, str(error), reason="bad-artifact-version") from error


def _version_of_index(index: str | None) -> str | None:
    match = re.fullmatch(r"v?([0-9]{1,10})", index or "")
    return f"v{match[1]}" if match else None


def _bad_field(name: str, why: str, *, reason: str = "bad-field") -> BadPayloadError:
    return BadPayloadError(f"{name}: {why}.", reason=reason)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
