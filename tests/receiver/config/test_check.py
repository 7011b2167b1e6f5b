"""`handoff check` without a network: a line for each secret, route and warning."""

from __future__ import annotations

from receiver.config import Check, check_offline
from tests.receiver.config.reading import ENVIRON, ROUTE, SAMPLES, TOP, check_key, read


def test_each_secret_and_route_has_its_line() -> None:
    """
    Where each secret comes from, what each route does; never what a secret is.
    """
    config = read((SAMPLES / "handoff.yaml").read_text(encoding="utf-8"))
    checks = check_offline(config, check_key=check_key)

    assert all(check.good for check in checks)
    assert checks[0] == Check(
        "sources.wandb.secrets[0]", True, "from env WANDB_WEBHOOK_SECRET, 69 characters"
    )
    assert checks[9:] == (
        Check("private key of Iv23abc", True, "is one"),
        Check("route deploy-production", True, "BUILD_AND_DEPLOY to acme/serving"),
        Check("route evaluate-candidates", True, "evaluate.yml of acme/${artifact.collection} on main"),
        Check("route retrain", True, "RETRAIN to acme/training, W&B is asked first"),
        Check("route modal", True, "post to https://acme--ci.modal.run"),
    )
    assert not [value for value in ENVIRON.values() if value in repr(checks)]


def test_what_may_not_stay_so_is_no_tick() -> None:
    """
    A key that is none, and each warning, are told as what to mend.
    """
    top = TOP.replace("token: {env: ACME_TOKEN}", "app: {client_id: Iv1, private_key: {env: PEM}}")
    action = "launch: {queue: q, job: j, entity: e, project: p}"
    route = ROUTE.replace("dispatch: {repository: acme/serving, event_type: DEPLOY}", action)
    text = f"{top}{route}wandb: {{api_key: {{env: WANDB_API_KEY}}}}\n"
    config = read(text, {"PEM": "-----BEGIN", "HANDOFF_REPOSITORY": "a/b"})

    def refuse(_: str) -> None:
        raise ValueError("is damaged")

    bad = [check for check in check_offline(config, check_key=refuse) if not check.good]
    assert bad == [
        Check("private key of Iv1", False, "is damaged"),
        Check("WANDB_WEBHOOK_TOKEN", False, "set beside sources in handoff.yaml; the file is what counts"),
        Check(
            "HANDOFF_REPOSITORY",
            False,
            "counts for nothing beside handoff.yaml, where dispatch.repository of a route says it",
        ),
    ]
    assert Check("route deploy", True, "j into queue q, W&B is asked first") in check_offline(config)
