"""`python -m receiver` is `handoff`."""

import sys

from receiver.cli import main

sys.exit(main())
