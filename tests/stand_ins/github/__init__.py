"""A GitHub for tests and the demo, judged by GitHub's own OpenAPI description."""

from tests.stand_ins.github.asked import Asked
from tests.stand_ins.github.faults import Fault
from tests.stand_ins.github.stand_in import GitHubStandIn, Violation
from tests.stand_ins.github.state import (
    App,
    Deployment,
    Dispatched,
    Installation,
    Repository,
    Run,
    Started,
    Token,
    Workflow,
)

__all__ = [
    "App",
    "Asked",
    "Deployment",
    "Dispatched",
    "Fault",
    "GitHubStandIn",
    "Installation",
    "Repository",
    "Run",
    "Started",
    "Token",
    "Violation",
    "Workflow",
]
