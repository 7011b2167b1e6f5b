"""Is a real prediction answered, and rightly?  Asks with the model's own sample.json; exits 0, or 1 and why.

``probe.py [http://HOST:PORT]``, by default this container's own.  Standard library alone, to start at once.
"""

from __future__ import annotations

import json
import math
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

SAMPLE = Path("/store/sample.json")
OWN = "http://127.0.0.1:8080"
SECONDS = 4  # Shorter than Docker's and Kubernetes' own, so that the reason is seen.


class NotReadyError(Exception):
    """It does not answer as it should; the message says how."""


def main(arguments: list[str]) -> int:
    """Ask once, and say what is wrong, if anything is."""
    try:
        sample = json.loads(SAMPLE.read_text(encoding="utf-8"))
        check(ask(arguments[0] if arguments else OWN, sample["data"]), sample)
    except (NotReadyError, OSError, ValueError, KeyError, TypeError) as error:
        sys.stdout.write(f"not ready: {error}\n")
        return 1
    return 0


def ask(server: str, rows: Any) -> Any:
    """The server's predictions for these rows."""
    body = json.dumps({"data": rows}).encode("utf-8")
    request = urllib.request.Request(  # noqa: S310 - the address is ours
        f"{server}/predictions/model", body, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - as above
            return json.load(answer)["predictions"]
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(500).decode("utf-8", "replace")
        raise NotReadyError(f"{error.code} {' '.join(said.split())}") from error


def check(predictions: Any, sample: dict[str, Any]) -> None:
    """Pass when there is a finite prediction for each row, the sample's own where it has them.

    Raises:
        NotReadyError: Otherwise.
    """
    got, want = flat(predictions), flat(sample.get("predictions", predictions))
    if len(predictions) != len(sample["data"]):
        raise NotReadyError(f"{len(predictions)} predictions for {len(sample['data'])} rows")
    if not all(map(math.isfinite, got)):
        raise NotReadyError(f"a prediction that is no number: {predictions}")
    pairs = zip(got, want, strict=False)  # Their number is looked at below.
    near = all(math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-5) for one, other in pairs)
    if len(got) != len(want) or not near:
        raise NotReadyError(f"got {predictions}, but sample.json wants {sample['predictions']}")


def flat(value: Any) -> list[float]:
    """All numbers of a nested list, in order."""
    return [number for each in value for number in flat(each)] if isinstance(value, list) else [float(value)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
