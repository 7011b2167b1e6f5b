"""Every GraphQL document, against the schema."""

from __future__ import annotations

import pytest
from graphql import build_schema, parse, validate
from graphql.language import OperationDefinitionNode

from registry_client import queries
from tests.stand_ins.wandb import SCHEMA_FILE

SCHEMA = build_schema(SCHEMA_FILE.read_text(encoding="utf-8"))
OLDER = build_schema(
    "\n".join(
        line
        for line in SCHEMA_FILE.read_text(encoding="utf-8").splitlines()
        if not line.strip().startswith("digestAlgorithm")
    )
)


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


@pytest.mark.parametrize("document", queries.ALL, ids=name)
def test_every_document_has_a_form_for_older_servers(document: str) -> None:
    """
    Servers from before XXH128 do not know digestAlgorithm, and nothing else is lost.
    """
    older = queries.without_digest_algorithm(document)

    assert validate(OLDER, parse(older)) == []
    assert older.replace("\n", "").replace(" ", "") == (
        document.replace("digestAlgorithm", "").replace("\n", "").replace(" ", "")
    )


def test_all_documents_are_listed_and_named() -> None:
    """
    ``ALL`` has every document of the module, each under a name of its own.
    """
    every = [text for key, text in vars(queries).items() if key.isupper() and isinstance(text, str)]
    texts = [text for text in every if "query " in text]

    assert sorted(texts) == sorted(set(queries.ALL))
    assert len({name(document) for document in queries.ALL}) == len(queries.ALL)
