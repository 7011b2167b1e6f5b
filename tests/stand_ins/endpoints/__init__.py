"""Slack, Teams, W&B Launch and a receiver of Standard Webhooks, each keeping its published rules."""

from tests.stand_ins.endpoints.endpoint import Arrived, Endpoint, Said
from tests.stand_ins.endpoints.launch import LaunchStandIn
from tests.stand_ins.endpoints.slack import SlackStandIn
from tests.stand_ins.endpoints.standard import StandardWebhooksStandIn
from tests.stand_ins.endpoints.teams import TeamsStandIn

__all__ = [
    "Arrived",
    "Endpoint",
    "LaunchStandIn",
    "Said",
    "SlackStandIn",
    "StandardWebhooksStandIn",
    "TeamsStandIn",
]
