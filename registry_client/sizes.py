"""Numbers of bytes as people write them: ``500 MB``, ``20GB``, ``1.5GiB``."""

from __future__ import annotations

import re
from fractions import Fraction

from registry_client.errors import ConfigurationError

_UNITS = {"b": 1} | {
    unit: base**power
    for base, names in ((1000, "kb mb gb tb"), (1024, "kib mib gib tib"))
    for power, unit in enumerate(names.split(), start=1)
}
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*([a-z]*)", re.ASCII | re.IGNORECASE)


def parse_size(name: str, text: str) -> int:
    """Read a number of bytes above zero, or raise a ConfigurationError that begins with the name.

    ``GB`` counts in thousands, ``GiB`` in 1,024s; without a unit the number is bytes.
    """
    match = _SIZE.fullmatch(text.strip())
    factor = _UNITS.get(match[2].lower() or "b") if match else None
    size = int(Fraction(match[1]) * factor) if match and factor else 0
    if size < 1:
        raise ConfigurationError(f"{name}: got {text.strip()[:40]!r}, want a size like 500MB, 20GB or 20GiB")
    return size
