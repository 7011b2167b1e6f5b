"""A destination for everybody else: a signed POST to any HTTPS endpoint that a route names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from urllib.parse import urlsplit

from receiver import signature
from receiver.answer import Answer
from receiver.destinations import bounded, standard_webhooks
from receiver.destinations.addresses import AddressRefusedError, Lookup, judged, wrong_with_url
from receiver.destinations.bounded import Bounded, json_of
from receiver.destinations.outcomes import Party, outcome_of
from receiver.dispatch import Dispatch, Outcome, OutcomeKind, RunSearch
from receiver.exchange import NoAnswerError, NotSentError
from receiver.routing.route import Post

PREFIX = "post:"
_ADVICE: Mapping[int, str] = {
    400: "it cannot read the body: compare it with what it expects",
    401: "it does not know us: check the route's token, or the secret of its signature",
    403: "we may not: check the route's token, or the secret of its signature",
    404: "nothing is there: check the route's url",
    405: "it takes no POST: check the route's url",
    410: "it is gone for good: take the route out, or set its new url",
    413: "the body is larger than it takes: have the route send less (body: …)",
    422: "it does not take the body: compare it with what it expects",
}


class Posts:
    """Posts the message of a dispatch as it is, signed where the route says so.

    Where the address may not be connected to, nothing is; see ``addresses``.  Proxies of the environment
    are passed by: one would look the name up anew, and connect to what it means by then.

    Args:
        targets: The ``post:`` of a route by the route's name, as the running configuration has it; None
            when it is gone.
        lookup: Instead of the system's.
    """

    def __init__(
        self,
        targets: Callable[[str], Post | None],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        bounded: Bounded | None = None,
        lookup: Lookup | None = None,
    ) -> None:
        self._targets = targets
        self._now = now
        self._bounded = Bounded() if bounded is None else bounded
        self._lookup = lookup

    def send(self, dispatch: Dispatch) -> Outcome:
        """Try once to send it.  Raises nothing: whatever happens is an outcome."""
        name = dispatch.repository.removeprefix(PREFIX)
        target = self._targets(name)
        if target is None:
            detail = f"the configuration has no route {name!r} with post any more: add it and redeliver"
            return Outcome(OutcomeKind.REFUSED, "route-gone", detail)
        try:
            body = json_of(dispatch.client_payload)
            headers = _headers(body, target, dispatch, self._now())
        except ValueError as error:
            return Outcome(OutcomeKind.REFUSED, "refused-payload", f"it cannot be written or signed: {error}")
        try:
            answer = self._post(target, body, headers)
        except AddressRefusedError as error:
            return Outcome(OutcomeKind.REFUSED, error.reason, str(error))
        except NotSentError as error:
            return Outcome(OutcomeKind.RETRY, error.reason, str(error))
        except NoAnswerError as error:
            return Outcome(OutcomeKind.AMBIGUOUS, error.reason, f"{error}; it may have acted on it")
        return outcome_of(answer, _party(name), self._now())

    def find_run(self, dispatch: Dispatch, since: datetime) -> RunSearch:  # noqa: ARG002 - there is nothing to look at
        """Find none: there is no telling what an endpoint has seen; it may tell repeats by our key."""
        return RunSearch(why_not="an endpoint of its own cannot be asked what it has seen")

    def _post(self, target: Post, body: bytes, headers: Mapping[str, str]) -> Answer:
        wrong = wrong_with_url(target.url, private=target.allow_private)
        if wrong is not None:
            raise AddressRefusedError(f"url: {wrong}")
        url = urlsplit(target.url)
        secure = url.scheme == "https"
        addresses = judged(
            url.hostname or "",
            url.port or (443 if secure else 80),
            private=target.allow_private,
            public=secure,
            lookup=self._lookup,
        )
        hide = tuple(secret for secret in (target.token, target.secret) if secret is not None)
        post = bounded.Post(target.url, body, headers, hide)
        return self._bounded.send(post, to=addresses, read_seconds=target.timeout.total_seconds())


def _headers(body: bytes, target: Post, dispatch: Dispatch, now: datetime) -> dict[str, str]:
    """Who sends it, and by which key its receiver tells what came twice."""
    headers = {"Idempotency-Key": dispatch.key}
    if target.token is not None:
        if re.fullmatch(r"[!-~]+", target.token.value) is None:
            raise ValueError("the token is not printable ASCII without spaces")
        headers["Authorization"] = f"Bearer {target.token.value}"
    if target.secret is not None and target.signature == "standard":
        key = standard_webhooks.key_of(target.secret.value)
        headers.update(standard_webhooks.headers(body, dispatch.key, now, key))
    if target.secret is not None and target.signature == "wandb":
        headers[signature.HEADER] = signature.sign(body, bytes(target.secret))
    return headers


def _party(name: str) -> Party:
    return Party(
        f"the endpoint of route {name}",
        failed="post-5xx",
        refused="post-{status}",
        if_unsure=OutcomeKind.AMBIGUOUS,
        otherwise="see what it says",
        advice=_ADVICE,
    )
