"""How long a job waits before the first byte of the model: the packaged Action against `pip install wandb`.

Both from nothing, in one run: the Action is one file that Python opens; the SDK needs a virtual environment
and its wheels (from pip's cache with --cached, which flatters it), and is then imported.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYZ = ROOT / "dist" / "registry_client.pyz"


def seconds(command: Sequence[str]) -> float:
    """Run the command to its end, and say how long it took."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def start_action() -> float:
    """Start the packaged Action as far as its version, as action.yml starts it."""
    return seconds([sys.executable, "-I", "-X", "utf8", str(PYZ), "--version"])


def start_sdk(*, cached: bool) -> float:
    """Install the wandb SDK into a new virtual environment and import it."""
    with tempfile.TemporaryDirectory() as folder:
        python = str(Path(folder) / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        total = seconds([sys.executable, "-m", "venv", folder])
        total += seconds([*pip, *([] if cached else ["--no-cache-dir"]), "wandb==0.31.0"])
        return total + seconds([python, "-c", "import wandb"])


def main() -> None:
    """Measure both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cached", action="store_true", help="let pip use its cache")
    parser.add_argument("--rounds", type=int, default=20, help="starts of the Action (default 20)")
    arguments = parser.parse_args()
    start_action()
    action = statistics.median(start_action() for _ in range(arguments.rounds))
    sdk = start_sdk(cached=arguments.cached)
    print(f"packaged Action, start to its own code   {action:8.3f} s   (median of {arguments.rounds})")
    print(f"venv + pip install wandb + import        {sdk:8.3f} s   (once)")
    print(f"ratio                                    {action / sdk:8.4f}     (1 : {sdk / action:.0f})")


if __name__ == "__main__":
    main()
