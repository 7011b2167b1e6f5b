"""GitHub and W&B: who we are there, and whether that is enough for what the routes ask."""

from __future__ import annotations

from collections.abc import Sequence

from receiver.budget import Budget
from receiver.config.environment import CREDENTIALS, Fallbacks
from receiver.config.reading import Section
from receiver.config.told import Told
from receiver.config.types import GitHubConfig, WandbConfig
from receiver.routing.route import RepositoryDispatch, Route, WorkflowDispatch
from receiver.secret import Secret
from receiver.settings import GitHubApp
from registry_client.credentials import ApiKey, base_url
from registry_client.errors import ConfigurationError

Routes = Sequence[tuple[Section, Route]]
_WANT_KEY = "want wandb: {api_key: {env: WANDB_API_KEY}}"


def github_of(told: Told, fallen: Fallbacks, routes: Routes) -> GitHubConfig:
    """GitHub's part; that nobody is to dispatch is noted where a route does."""
    section, settings = told.section("github"), fallen.settings
    budget = section.get("budget")
    credentials = _credentials(told, fallen) if "dispatches" in told.halves else None
    if credentials is None and "dispatches" in told.halves and not told.is_broken("github"):
        _miss_credentials(told, routes)
    return GitHubConfig(
        credentials=credentials,
        api_url=section.get("api_url", settings.github_api_url).rstrip("/"),
        api_version=section.get("api_version", GitHubConfig.api_version),
        budget=Budget.parse(budget) if budget else settings.budget,
        webhook_secrets=section.get("webhook_secret", ()),
    )


def _credentials(told: Told, fallen: Fallbacks) -> Secret | GitHubApp | None:
    section = told.section("github")
    if "app" in section:
        return _app(told, section.get("app"))
    if "token" in section:
        token: Secret = section.get("token", Secret(""))
        return token
    return fallen.settings.github or Secret("") if CREDENTIALS in fallen.tells else None


def _app(told: Told, section: Section | None) -> GitHubApp:
    key: Secret | None = section.get("private_key") if section else None
    if section is None or key is None:
        return GitHubApp("", Secret(""))  # Noted already.
    if told.check_key:
        try:
            told.check_key(key.value)
        except ValueError as error:
            told.problems.add(section.at("private_key"), str(error))
    return GitHubApp(section.get("client_id", ""), key)


def _miss_credentials(told: Told, routes: Routes) -> None:
    actions = (RepositoryDispatch, WorkflowDispatch)
    first = next((route.name for _, route in routes if isinstance(route.action, actions)), None)
    if first is not None:
        told.problems.add(
            told.document.at("github"),
            f"route {first} dispatches to GitHub, and nobody is to do so; "
            "want github: {app: {client_id, private_key}} or github: {token: {env: GITHUB_TOKEN}}",
        )


def wandb_of(told: Told, routes: Routes) -> WandbConfig:
    """W&B's part; each place that asks W&B is noted where there is no key for it."""
    section = told.section("wandb")
    if "api_key" not in section and not told.is_broken("wandb"):
        _miss_api_key(told, routes)
    key: Secret | None = section.get("api_key")
    if key and key.value:
        try:
            ApiKey.parse(key.value, "it")
        except ConfigurationError as error:
            told.problems.add(section.at("api_key"), str(error).removeprefix("the W&B key in it "))
    return WandbConfig(key, _base_url(told), section.get("verify", "off"))


def _base_url(told: Told) -> str:
    section = told.section("wandb")
    text = section.get("base_url", "")
    try:
        return base_url({"WANDB_BASE_URL": text} if "base_url" in section else told.environ)
    except ConfigurationError as error:
        told.problems.add(section.at("base_url"), f"the environment's {error}")
        return WandbConfig.base_url


def _miss_api_key(told: Told, routes: Routes) -> None:
    section = told.section("wandb")
    if section.get("verify") == "required":
        told.problems.add(section.at("verify"), f"asks W&B, and there is no key for it; {_WANT_KEY}")
    for place, name in told.reading.asks:
        told.problems.add(place, f"only W&B tells {name}, and there is no key for it; {_WANT_KEY}")
    for each, _ in routes:
        for name in ("launch", "reconcile"):
            if name in each:
                told.problems.add(each.at(name), f"asks W&B, and there is no key for it; {_WANT_KEY}")
