"""GraphQL executed for real: documents are read, validated against the schema and answered."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from graphql import (
    REMOVE,
    DocumentNode,
    FieldDefinitionNode,
    GraphQLError,
    GraphQLResolveInfo,
    GraphQLSchema,
    OperationDefinitionNode,
    StringValueNode,
    Visitor,
    build_ast_schema,
    execute_sync,
    parse,
    validate,
    visit,
)

from tests.stand_ins.wandb.answers import ANSWERS, Asker
from tests.stand_ins.wandb.changes import CHANGES

SCHEMA_FILE = Path(__file__).with_name("schema.graphql")
FEATURES = frozenset(
    {
        "ARTIFACT_TAGS",
        "ARTIFACT_REGISTRY_SEARCH",
        "ARTIFACT_COLLECTION_MEMBERSHIP_FILES",
        "ARTIFACT_COLLECTION_MEMBERSHIP_FILE_DOWNLOAD_HANDLER",
        "PROJECT_ARTIFACT_COLLECTION_MEMBERSHIP",
        "ARTIFACT_MEMBERSHIP_IN_LINK_ARTIFACT_RESPONSE",
        "TOTAL_COUNT_IN_FILE_CONNECTION",
        "ARTIFACT_V2_DOWNLOAD_HANDLER_SUPPORTS_ARTIFACT_ID",
        "ARTIFACT_DIGEST_ALGORITHM",
    }
)
Features = frozenset[str] | None
_RESOLVERS: dict[str, Callable[..., Any]] = {**ANSWERS, **CHANGES}


@lru_cache(maxsize=32)
def schema_for(features: Features, without: frozenset[str] = frozenset()) -> GraphQLSchema:
    """The schema of a server with these features (None is one too old to list them), without fields."""

    class Older(Visitor):
        def enter_field_definition(self, node: FieldDefinitionNode, *place: Any) -> Any:
            owner = place[-1][-1].name.value
            left_out = f"{owner}.{node.name.value}" in without
            return REMOVE if left_out or _is_unknown(node, features) else None

    return build_ast_schema(visit(parse(SCHEMA_FILE.read_text(encoding="utf-8")), Older()))


def operation_name(query: str) -> str:
    """The name of the first operation; empty when it has none or cannot be read."""
    try:
        definitions = parse(query).definitions
    except GraphQLError:
        return ""
    operation = next((each for each in definitions if isinstance(each, OperationDefinitionNode)), None)
    return operation.name.value if operation and operation.name else ""


def answer(
    query: str,
    variables: dict[str, Any] | None,
    features: Features,
    asker: Asker,
    without: frozenset[str] = frozenset(),
) -> tuple[int, dict[str, Any]]:
    """The status and body for one document.  400 is for what cannot be executed at all."""
    document, errors = _read(query, features, without)
    if document is None:
        return 400, {"errors": [_in_wandbs_words(each) for each in errors]}
    result = execute_sync(
        schema_for(features, without),
        document,
        variable_values=variables,
        context_value=asker,
        field_resolver=_resolve,
        type_resolver=lambda value, _info, _type: str(value.graphql_type),
    )
    failures = [_in_wandbs_words(each) for each in result.errors or ()]
    if result.data is None and any("path" not in each for each in failures):
        return 400, {"errors": failures}  # The variables do not fit.
    return 200, {"data": result.data, **({"errors": failures} if failures else {})}


@lru_cache(maxsize=256)
def _read(
    query: str, features: Features, without: frozenset[str]
) -> tuple[DocumentNode | None, Sequence[GraphQLError]]:
    try:
        document = parse(query)
    except GraphQLError as error:
        return None, [error]
    errors = validate(schema_for(features, without), document)
    return (None, errors) if errors else (document, [])


def _in_wandbs_words(error: GraphQLError) -> dict[str, Any]:
    shown: dict[str, Any] = dict(error.formatted)
    if shown["message"].startswith("Cannot query field"):
        # Clients know an old server by W&B's wording, which has double quotes.
        shown["message"] = shown["message"].replace("'", '"')
    return shown


def _is_unknown(node: FieldDefinitionNode, features: Features) -> bool:
    since = next((each for each in node.directives or () if each.name.value == "since"), None)
    if since is None:
        return False
    wanted = [each.value.value for each in since.arguments or () if isinstance(each.value, StringValueNode)]
    return features is None or not features.issuperset(wanted)


def _resolve(source: Any, info: GraphQLResolveInfo[Asker], **arguments: Any) -> Any:
    own = _RESOLVERS.get(f"{info.parent_type.name}.{info.field_name}")
    if own is not None:
        return own(source, info.context, **{_snake(name): value for name, value in arguments.items()})
    return source[info.field_name] if isinstance(source, dict) else getattr(source, _snake(info.field_name))


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]+", lambda capital: f"_{capital[0].lower()}", name)
