"""Sizes: as people write them, and nothing that could be read in two ways."""

from __future__ import annotations

import pytest

from registry_client.errors import ConfigurationError
from registry_client.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("1", 1),
        ("500 MB", 500_000_000),
        ("20GB", 20_000_000_000),
        (" 20gb ", 20_000_000_000),
        ("1.5 kB", 1_500),
        ("0.1GB", 100_000_000),
        ("20GiB", 20 * 1024**3),
        ("2TB", 2 * 1000**4),
        ("7 b", 7),
    ],
)
def test_a_size_is_a_number_of_bytes(text: str, want: int) -> None:
    """
    Thousands and 1,024s are told apart, and a decimal fraction is exact.
    """
    assert parse_size("max-size", text) == want


@pytest.mark.parametrize(
    "text", ["", "GB", "-1", "0", "0.1", "1e9", "20 G", "20 GBit", "1,000", "٣", "9" * 5000, "1.GB", "nan"]
)
def test_what_is_no_size_is_told(text: str) -> None:
    """
    With the setting's name, what it was and what it should be; ``20 G`` means two things to two people.
    """
    with pytest.raises(
        ConfigurationError, match=r"^max-size: got '.{0,40}', want a size like 500MB"
    ) as caught:
        parse_size("max-size", text)
    assert len(str(caught.value)) < 120
