"""Every GraphQL document, against the schema."""

from __future__ import annotations

import pytest
from graphql import build_schema, parse, validate
from graphql.language import OperationDefinitionNode

from registry_client import queries
from tests.stand_ins.wandb import SCHEMA_FILE
from tests.stand_ins.wandb.graph import schema_for

SCHEMA = build_schema(SCHEMA_FILE.read_text(encoding="utf-8"))


def name(document: str) -> str:
    """What the document calls its operation."""
    operations = [each for each in parse(document).definitions if isinstance(each, OperationDefinitionNode)]
    assert len(operations) == 1
    assert operations[0].name is not None
    return operations[0].name.value


@pytest.mark.parametrize("document", queries.ALL, ids=name)
def test_every_document_is_one_that_wandb_takes(document: str) -> None:
    """
    Fields, arguments and types are in the schema.
    """
    assert validate(SCHEMA, parse(document)) == []


NEWER = [(document, field) for document in queries.ALL for field in sorted(queries.newer_fields(document))]


@pytest.mark.parametrize(
    ("document", "field"), NEWER, ids=[f"{name(document)}-{field}" for document, field in NEWER]
)
def test_a_newer_field_can_be_left_out(document: str, field: str) -> None:
    """
    Alone, and with all the others: what is left is a document that W&B takes, and does not ask for it.
    """
    for fields in ({field}, queries.newer_fields(document)):
        older = queries.without(document, fields)

        assert validate(SCHEMA, parse(older)) == []
        assert not queries.newer_fields(older) & fields


def test_nothing_else_is_left_out() -> None:
    """
    Only the field with what it holds; a field of the same name that every server knows stays.
    """
    document = "query A {\n  tags { # newer\n    name\n  }\n  b { tags }\n  name # newer\n}"

    assert queries.without(document, {"tags", "b"}) == "query A {\n  b { tags }\n  name # newer\n}"
    assert queries.without(document, ()) == document


@pytest.mark.parametrize("document", [each for each in queries.ALL if "Older" in each], ids=name)
def test_documents_for_older_servers_are_taken_by_them(document: str) -> None:
    """
    By one that lists no features, once what it does not know is left out.
    """
    older = queries.without(document, queries.newer_fields(document))

    assert validate(schema_for(None), parse(older)) == []


def test_all_documents_are_listed_and_named() -> None:
    """
    ``ALL`` has every document of the module, each under a name of its own.
    """
    every = [text for key, text in vars(queries).items() if key.isupper() and isinstance(text, str)]
    texts = [text for text in every if "query " in text or "mutation " in text]

    assert sorted(texts) == sorted(set(queries.ALL))
    assert len({name(document) for document in queries.ALL}) == len(queries.ALL)
