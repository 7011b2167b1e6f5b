"""What is to be written, read from what people write, and what has to be changed for it."""

from __future__ import annotations

import pytest

from registry_client.errors import ConfigurationError
from registry_client.mark import Changes, Linking, Marks, needed
from registry_client.reference import CollectionPath

STAGING = CollectionPath("acme-org", "wandb-registry-staging", "Flower")


def test_each_kind_is_read() -> None:
    """
    Twice the same is once; metadata keeps what follows the first ``=``; a link may name an alias.
    """
    marks = Marks.parse(
        {
            "alias": ["deployed", "deployed", "eu west"],
            "remove-alias": ["candidate"],
            "tag": ["serving now"],
            "remove-tag": ["waiting"],
            "metadata": ["image = sha256:ab=", "note="],
            "link": ["wandb-registry-staging/Flower", "acme-org/wandb-registry-staging/Leaf:best"],
        }
    )

    assert marks.aliases == ("deployed", "eu west")
    assert (marks.without_aliases, marks.tags, marks.without_tags) == (
        ("candidate",),
        ("serving now",),
        ("waiting",),
    )
    assert marks.metadata == {"image": "sha256:ab=", "note": ""}
    assert list(map(str, marks.links)) == [
        "wandb-registry-staging/Flower:latest",
        "acme-org/wandb-registry-staging/Leaf:best",
    ]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("alias", "v3", "'v3' is a version"),
        ("alias", "a:b", "without ':'"),
        ("alias", " ", "want at most 128"),
        ("alias", "x" * 129, "want at most 128"),
        ("alias", "a\nb", "want at most 128"),
        ("remove-alias", "a/b", "without ':'"),
        ("tag", "né!", "the tag"),
        ("tag", "a" * 129, "the tag"),
        ("remove-tag", " x", "the tag"),
        ("metadata", "image", "want KEY=VALUE"),
        ("metadata", "=x", "want KEY=VALUE"),
        ("link", "Flower", "want [ORG/]wandb-registry-NAME/COLLECTION"),
        ("link", "wandb-artifact://_id/QXJ0aWZhY3Q6MTIz", "want [ORG/]wandb-registry-NAME/COLLECTION"),
        ("link", "acme-org/wandb-registry-staging/Flower:v2", "'v2' is a version"),
    ],
)
def test_what_wandb_would_not_take_is_refused(name: str, text: str, why: str) -> None:
    """
    Before anything is asked, with what is wanted instead.
    """
    with pytest.raises(ConfigurationError) as refused:
        Marks.parse({name: [text]})

    assert why in str(refused.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    """
    Each of them, and what contradicts itself too.
    """
    with pytest.raises(ConfigurationError) as refused:
        Marks.parse(
            {
                "alias": ["v1", "x"],
                "remove-alias": ["x"],
                "tag": ["y"],
                "remove-tag": ["y"],
                "metadata": ["z"],
            }
        )

    assert str(refused.value).count("; ") == 3


def test_only_what_is_not_so_yet_is_changed() -> None:
    """
    A second run of the same job asks W&B for nothing.
    """
    marks = Marks.parse(
        {
            "alias": ["deployed"],
            "remove-alias": ["old"],
            "tag": ["a"],
            "remove-tag": ["b"],
            "metadata": ["k=1"],
        }
    )

    before = needed(marks, aliases=["old"], tags=["b"], metadata={"k": 1, "other": [2]}, links=[])
    after = needed(marks, aliases=["deployed"], tags=["a"], metadata={"k": "1", "other": [2]}, links=[])

    assert before == Changes(("deployed",), ("old",), ("a",), ("b",), {"k": "1"}, {"k": "1", "other": [2]})
    assert after == Changes()
    assert (after.lines(), after.of_the_source, before.of_the_source) == ((), False, True)


def test_changes_are_told_in_words() -> None:
    """
    In the order in which they are made.
    """
    changes = Changes(
        ("deployed",),
        ("old",),
        ("a",),
        ("b",),
        {"k": "1"},
        links=(Linking(STAGING, ("best",)), Linking(STAGING, (), is_new=True)),
    )

    assert changes.lines() == (
        "alias deployed",
        "no alias old",
        f"link to {STAGING} as best",
        f"link to {STAGING} (a new collection)",
        "tag a",
        "no tag b",
        "metadata k",
    )


def test_no_more_metadata_than_wandb_takes() -> None:
    """
    A hundred keys; who changes none of them is not asked to count.
    """
    full = {f"k{number}": "x" for number in range(101)}
    assert needed(Marks(), aliases=[], tags=[], metadata=full, links=[]) == Changes()

    with pytest.raises(ConfigurationError, match="102 keys of metadata, and W&B takes 100"):
        needed(Marks.parse({"metadata": ["new=1"]}), aliases=[], tags=[], metadata=full, links=[])


def test_nothing_to_write_is_false() -> None:
    """
    So that a report without marks leaves W&B alone.
    """
    assert not Marks.parse({})
    assert Marks.parse({"link": ["wandb-registry-staging/Flower"]})
