"""Where the parts meet: the pages, the doors behind them, and the service that they hand over to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from threading import Lock

from flask import Flask

from receiver.config.types import Config, Source
from receiver.dispatcher import Destination
from receiver.doors import Doors, GitHubDoor
from receiver.event import RegistryEvent
from receiver.intake import Intake, new_id
from receiver.ledger import Ledger
from receiver.plan import Rules
from receiver.reports import OwnMarks, Reports
from receiver.service import Service
from receiver.settings import Settings
from receiver.views import web_app

Ours = Callable[[RegistryEvent, datetime], bool]
_log = logging.getLogger(__name__)


class Application:
    """The pages of one process with all that works behind them."""

    def __init__(
        self,
        service: Service,
        *,
        now: Callable[[], datetime],
        dispatch: bool,
        reread: Callable[[], Config] | None,
    ) -> None:
        self._service = service
        self._now = now
        self._reread = reread
        self._reloading = Lock()
        self._doors = self._opened(service.config)
        checks = {"settings": _sound, "ledger": service.ledger.check_writable}
        if dispatch:
            checks["dispatcher"] = service.check_dispatcher
        self.app: Flask = web_app(lambda: self._doors, checks, max_body=service.config.server.max_body)
        self.app.extensions["handoff"] = self
        self.app.before_request(service.check_process)

    @classmethod
    def start(
        cls,
        config: Config | Settings,
        destination: Destination | None,
        *,
        now: Callable[[], datetime],
        dispatch: bool,
        reread: Callable[[], Config] | None = None,
    ) -> Application:
        """Start the service, and open the doors; see ``create_app``."""
        service = Service.start(config, destination, now=now, dispatch=dispatch)
        return cls(service, now=now, dispatch=dispatch, reread=reread)

    @property
    def ledger(self) -> Ledger:
        """The ledger, open."""
        return self._service.ledger

    def reload(self) -> bool:
        """Read the configuration anew, whole; a bad one changes nothing and is False."""
        with self._reloading:  # Else who read first might come last.
            config = self._service.read_anew(self._reread)
            if config is None:
                return False
            self._doors = self._opened(config)
        _log.info("the configuration was read anew: %d route(s)", len(config.routes))
        return True

    def close(self) -> None:
        """Finish what is being sent, then let go of everything; a second time does nothing."""
        self._service.close()

    def _opened(self, config: Config) -> Doors:
        ledger, rules = self._service.ledger, config.rules
        github = reports = None
        if config.github.webhook_secrets:
            github = GitHubDoor(config.github.webhook_secrets, ledger, self._now, self._service.wake)
        ours: Ours = _nothing
        if config.report_secrets:
            reports, ours = Reports(config.report_secrets, ledger, self._now), OwnMarks(ledger)
        intakes = {name: self._intake(each, config, rules, ours) for name, each in config.sources.items()}
        return Doors(intakes, github, reports)

    def _intake(self, source: Source, config: Config, rules: Rules, ours: Ours) -> Intake:
        return Intake(
            source=source.name,
            secrets=source.secrets,
            tokens=source.tokens,
            hidden=config.all_secrets,
            rules=rules,
            store=self._service.ledger,
            now=self._now,
            new_id=new_id,
            entities=source.entities,
            window=config.ledger.duplicate_window,
            ours=ours,
        )


def _nothing(_event: RegistryEvent, _now: datetime) -> bool:
    """Without reports, no mark is ours."""
    return False


def _sound() -> None:
    """A configuration is sound once it is built."""
