"""`handoff`, whose leases end soon: a test waits for the lease of a process that it killed."""

from __future__ import annotations

import os
import sys
from datetime import timedelta

from receiver import cli
from receiver.dispatcher import Dispatcher

LEASE_SECONDS = "FAULTS_LEASE_SECONDS"


def main() -> int:
    """Do what `handoff` does."""
    defaults = Dispatcher.__init__.__kwdefaults__
    assert defaults is not None
    assert "lease" in defaults
    defaults["lease"] = timedelta(seconds=float(os.environ[LEASE_SECONDS]))
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
