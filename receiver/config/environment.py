"""What the file leaves to the environment: the variables of the same meaning go on counting."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from receiver.config.problems import Problem, Problems
from receiver.config.reading import Reading
from receiver.config.secrets import Half
from receiver.errors import SettingsError
from receiver.settings import Settings

SOURCES, CREDENTIALS = "sources", "github.credentials"
# Which variables have the meaning of which key.
_MEAN: Mapping[str, tuple[str, ...]] = {
    SOURCES: (
        "WANDB_WEBHOOK_SECRET",
        "WANDB_WEBHOOK_SECRET_PREVIOUS",
        "WANDB_WEBHOOK_TOKEN",
        "WANDB_WEBHOOK_TOKEN_PREVIOUS",
    ),
    CREDENTIALS: ("GITHUB_TOKEN", "GITHUB_APP_CLIENT_ID", "GITHUB_APP_PRIVATE_KEY"),
    "reports.secrets": ("HANDOFF_REPORT_SECRET", "HANDOFF_REPORT_SECRET_PREVIOUS"),
    "github.api_url": ("GITHUB_API_URL",),
    "github.budget": ("HANDOFF_GITHUB_BUDGET",),
    "ledger.url": ("HANDOFF_DATABASE_URL",),
    "ledger.retention": ("HANDOFF_RETENTION",),
    "ledger.duplicate_window": ("HANDOFF_DUPLICATE_WINDOW",),
    "server.max_body": ("HANDOFF_MAX_BODY",),
    "order": ("HANDOFF_ORDER",),
}
KEYS = frozenset(_MEAN)
_WITHOUT_MEANING = {"HANDOFF_REPOSITORY": "dispatch.repository", "HANDOFF_FORWARD_FIELDS": "client_payload"}
_STAND_IN = "stand-in-for-what-the-file-says"


@dataclass(frozen=True)
class Fallbacks:
    """What the environment says where the file is silent.

    Attributes:
        tells: The keys, as above, for which some variable is set.
    """

    settings: Settings
    tells: frozenset[str]


def fallbacks(
    environ: Mapping[str, str],
    said: Collection[str],
    reading: Reading,
    *,
    halves: Collection[Half],
    check_key: Callable[[str], object] | None,
) -> Fallbacks:
    """Read the variables of what the file does not say; what is wrong with them is noted.

    Args:
        environ: The variables by name.
        said: The keys, as above, that the file has; a variable of the same meaning is warned of.
        reading: Where to note; of variables that the file itself names nobody is warned.
        halves: Which halves of the work are to be done; of the other half nothing is read.
        check_key: As for ``Settings.from_env``.
    """
    left, problems = dict(environ), reading.problems
    _warn_of_both(environ, said, problems, reading.secrets.variables)
    for key in said:
        for name in _names(key):
            left.pop(name, None)
    tells = frozenset(key for key in _MEAN if any(left.get(name) for name in _names(key)))
    left["HANDOFF_REPOSITORY"] = "none/none"
    left.pop("HANDOFF_FORWARD_FIELDS", None)
    if SOURCES not in tells:
        left["WANDB_WEBHOOK_TOKEN"] = _STAND_IN
    if CREDENTIALS not in tells:
        left["GITHUB_TOKEN"] = _STAND_IN
    try:
        settings = Settings.from_env(
            left,
            check_key=check_key,
            receives="receives" in halves,
            dispatches="dispatches" in halves,
        )
    except SettingsError as error:
        problems.found += [Problem.of_environment(line) for line in error.problems]
        settings = Settings()
    problems.warnings += [Problem.of_environment(line) for line in settings.warnings]
    return Fallbacks(settings, tells)


def _warn_of_both(
    environ: Mapping[str, str], said: Collection[str], problems: Problems, referred: Collection[str]
) -> None:
    for key in _MEAN:
        if key not in said:
            continue
        both = [name for name in _names(key) if environ.get(name) and name not in referred]
        if both:
            told = "github.app or github.token" if key == CREDENTIALS else key
            words = f"{', '.join(both)}: set beside {told} in {problems.file}; the file is what counts"
            problems.warnings.append(Problem.of_environment(words))
    for name, where in _WITHOUT_MEANING.items():
        if environ.get(name):
            words = f"{name}: counts for nothing beside {problems.file}, where {where} of a route says it"
            problems.warnings.append(Problem.of_environment(words))


def _names(key: str) -> tuple[str, ...]:
    return tuple(each for name in _MEAN[key] for each in (name, f"{name}_FILE"))
