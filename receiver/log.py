"""Where a program of ours logs to, and how its lines look: gunicorn's, so that there is one kind."""

from __future__ import annotations

import logging
import sys


def log_to_stderr() -> None:
    """Log from INFO on to the standard error, each line with its time and process."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S %z",
    )
