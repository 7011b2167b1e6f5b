"""A stand-in for Weights & Biases: stateful, on 127.0.0.1, agreed with by W&B's own SDK."""

from tests.stand_ins.wandb.automations import Automation, Execution, Webhook
from tests.stand_ins.wandb.faults import Fault, Faults
from tests.stand_ins.wandb.graph import FEATURES, SCHEMA_FILE
from tests.stand_ins.wandb.stand_in import RecordedRequest, WandbStandIn
from tests.stand_ins.wandb.state import Membership, RefusedError, Run, User

__all__ = [
    "FEATURES",
    "SCHEMA_FILE",
    "Automation",
    "Execution",
    "Fault",
    "Faults",
    "Membership",
    "RecordedRequest",
    "RefusedError",
    "Run",
    "User",
    "WandbStandIn",
    "Webhook",
]
