"""`handoff check`: a table of what is right, and of how to mend what is not."""

from receiver.checks.finding import Finding, Mark, is_good, table
from receiver.checks.offline import offline
from receiver.checks.online import Outside, online

__all__ = ["Finding", "Mark", "Outside", "is_good", "offline", "online", "table"]
