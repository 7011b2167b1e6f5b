"""The JSON that GitHub shows for a repository, a run, an installation: enough for its own description."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

from tests.stand_ins.github.state import App, Deployment, Installation, Repository, Run

DOCUMENTATION = "https://docs.github.com/rest"
_EPOCH = "2024-01-01T00:00:00Z"
_BRANCH = "main"
_SHA = "6dcb09b5b57875f334f61aebed695e2e4193db5e"
_PATHS_OF_REPOSITORY = {
    "archive": "/{archive_format}{/ref}",
    "assignees": "/assignees{/user}",
    "blobs": "/git/blobs{/sha}",
    "branches": "/branches{/branch}",
    "collaborators": "/collaborators{/collaborator}",
    "comments": "/comments{/number}",
    "commits": "/commits{/sha}",
    "compare": "/compare/{base}...{head}",
    "contents": "/contents/{+path}",
    "contributors": "/contributors",
    "deployments": "/deployments",
    "downloads": "/downloads",
    "events": "/events",
    "forks": "/forks",
    "git_commits": "/git/commits{/sha}",
    "git_refs": "/git/refs{/sha}",
    "git_tags": "/git/tags{/sha}",
    "hooks": "/hooks",
    "issue_comment": "/issues/comments{/number}",
    "issue_events": "/issues/events{/number}",
    "issues": "/issues{/number}",
    "keys": "/keys{/key_id}",
    "labels": "/labels{/name}",
    "languages": "/languages",
    "merges": "/merges",
    "milestones": "/milestones{/number}",
    "notifications": "/notifications{?since,all,participating}",
    "pulls": "/pulls{/number}",
    "releases": "/releases{/id}",
    "stargazers": "/stargazers",
    "statuses": "/statuses/{sha}",
    "subscribers": "/subscribers",
    "subscription": "/subscription",
    "tags": "/tags",
    "teams": "/teams",
    "trees": "/git/trees{/sha}",
}
_PATHS_OF_USER = {
    "events": "/events{/privacy}",
    "followers": "/followers",
    "following": "/following{/other_user}",
    "gists": "/gists{/gist_id}",
    "organizations": "/orgs",
    "received_events": "/received_events",
    "repos": "/repos",
    "starred": "/starred{/owner}{/repo}",
    "subscriptions": "/subscriptions",
}


def error(status: int, message: str) -> dict[str, Any]:
    """Return the body of a refusal."""
    return {"message": message, "documentation_url": DOCUMENTATION, "status": str(status)}


def instant(moment: datetime) -> str:
    """Return the time as GitHub writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def node_id(kind: str, number: int) -> str:
    """Return a global id as opaque as GitHub's."""
    return base64.b64encode(f"{kind}{number}".encode()).decode()


def user(login: str, api: str, html: str, kind: str = "Organization") -> dict[str, Any]:
    """Return an account."""
    number = sum(login.encode()) + 500
    return {
        "login": login,
        "id": number,
        "node_id": node_id(kind, number),
        "avatar_url": f"{html}/{login}.png",
        "gravatar_id": "",
        "url": f"{api}/users/{login}",
        "html_url": f"{html}/{login}",
        **{f"{name}_url": f"{api}/users/{login}{path}" for name, path in _PATHS_OF_USER.items()},
        "type": kind,
        "site_admin": False,
    }


def minimal_repository(repository: Repository, api: str, html: str) -> dict[str, Any]:
    """Return a repository as other documents carry it."""
    owner, _, name = repository.name.partition("/")
    url = f"{api}/repos/{repository.name}"
    return {
        "id": repository.id,
        "node_id": node_id("Repository", repository.id),
        "name": name,
        "full_name": repository.name,
        "private": repository.private,
        "owner": user(owner, api, html),
        "html_url": f"{html}/{repository.name}",
        "description": None,
        "fork": False,
        "url": url,
        **{f"{path_name}_url": f"{url}{path}" for path_name, path in _PATHS_OF_REPOSITORY.items()},
    }


def full_repository(repository: Repository, api: str, html: str) -> dict[str, Any]:
    """Return a repository as itself, and as an event carries it."""
    address = f"{html}/{repository.name}"
    counts: tuple[str, ...] = (
        "forks",
        "forks_count",
        "open_issues",
        "open_issues_count",
        "stargazers_count",
        "size",
    )
    counts += ("watchers", "watchers_count", "network_count", "subscribers_count")
    nothing = ("homepage", "language", "mirror_url", "license")
    features = ("has_issues", "has_projects", "has_wiki", "has_pages", "has_discussions", "has_downloads")
    return {
        **minimal_repository(repository, api, html),
        "clone_url": f"{address}.git",
        "git_url": f"git://{address.partition('://')[2]}.git",
        "ssh_url": f"git@{address.partition('://')[2].replace('/', ':', 1)}.git",
        "svn_url": address,
        "default_branch": _BRANCH,
        "archived": repository.archived,
        "disabled": False,
        "visibility": "private" if repository.private else "public",
        **dict.fromkeys(counts, 0),
        **dict.fromkeys(nothing),
        **dict.fromkeys(features, False),
        **dict.fromkeys(("pushed_at", "created_at", "updated_at"), _EPOCH),
    }


def run(each: Run, api: str, html: str) -> dict[str, Any]:
    """Return a workflow run."""
    url = f"{api}/repos/{each.repository.name}/actions/runs/{each.id}"
    author = {"name": "Ada", "email": "ada@example.com"}
    repository = minimal_repository(each.repository, api, html)
    parts = {"jobs": "jobs", "logs": "logs", "cancel": "cancel", "rerun": "rerun", "artifacts": "artifacts"}
    return {
        "id": each.id,
        "node_id": node_id("WorkflowRun", each.id),
        "name": each.workflow.file,
        "display_title": each.display_title,
        "head_branch": _BRANCH,
        "head_sha": _SHA,
        "path": f".github/workflows/{each.workflow.file}",
        "run_number": 1,
        "event": each.event,
        "status": each.status,
        "conclusion": each.conclusion,
        "workflow_id": 159038,
        "url": url,
        "html_url": f"{html}/{each.repository.name}/actions/runs/{each.id}",
        "created_at": instant(each.created_at),
        "updated_at": instant(each.created_at),
        "head_commit": {
            "id": _SHA,
            "tree_id": _SHA,
            "message": "Serve the model",
            "timestamp": _EPOCH,
            "author": author,
            "committer": author,
        },
        "repository": repository,
        "head_repository": repository,
        **{f"{name}_url": f"{url}/{path}" for name, path in parts.items()},
        "check_suite_url": f"{api}/repos/{each.repository.name}/check-suites/{each.id}",
        "workflow_url": f"{api}/repos/{each.repository.name}/actions/workflows/159038",
        "pull_requests": [],
    }


def deployment(each: Deployment, api: str, html: str) -> dict[str, Any]:
    """Return a deployment."""
    repository = f"{api}/repos/{each.repository.name}"
    url = f"{repository}/deployments/{each.id}"
    return {
        "id": each.id,
        "node_id": node_id("Deployment", each.id),
        "sha": _SHA,
        "ref": each.ref,
        "task": "deploy",
        "environment": each.environment,
        "creator": user("github-actions", api, html, "Bot"),
        "payload": each.payload,
        "description": each.description,
        "statuses_url": f"{url}/statuses",
        "repository_url": repository,
        "url": url,
        "created_at": instant(each.at),
        "updated_at": instant(each.at),
    }


def deployment_status(each: Deployment, number: int, at: datetime, api: str, html: str) -> dict[str, Any]:
    """Return the state that a deployment was given last."""
    told = each.statuses[-1]
    repository = f"{api}/repos/{each.repository.name}"
    shown: dict[str, Any] = {name: told[name] for name in ("environment_url", "log_url") if name in told}
    return {
        "id": number,
        "node_id": node_id("DeploymentStatus", number),
        "state": told["state"],
        "creator": user("github-actions", api, html, "Bot"),
        "description": told.get("description", ""),
        "environment": told.get("environment", each.environment),
        "target_url": told.get("log_url") or told.get("target_url") or f"{html}/{each.repository.name}",
        "deployment_url": f"{repository}/deployments/{each.id}",
        "repository_url": repository,
        "url": f"{repository}/deployments/{each.id}/statuses/{number}",
        "created_at": instant(at),
        "updated_at": instant(at),
        **shown,
    }


def entry(repository: Repository, path: str, api: str, html: str, size: int = 0) -> dict[str, Any]:
    """A file, as a list of a directory shows it."""
    url = f"{api}/repos/{repository.name}/contents/{path}?ref={_BRANCH}"
    page = f"{html}/{repository.name}/blob/{_BRANCH}/{path}"
    blob = f"{api}/repos/{repository.name}/git/blobs/{_SHA}"
    return {
        "type": "file",
        "size": size,
        "name": path.rpartition("/")[2],
        "path": path,
        "sha": _SHA,
        "url": url,
        "git_url": blob,
        "html_url": page,
        "download_url": f"{html}/{repository.name}/raw/{_BRANCH}/{path}",
        "_links": {"git": blob, "html": page, "self": url},
    }


def file(repository: Repository, path: str, content: str, api: str, html: str) -> dict[str, Any]:
    """A file with what it holds."""
    raw = content.encode()
    return {
        **entry(repository, path, api, html, len(raw)),
        "encoding": "base64",
        "content": base64.encodebytes(raw).decode(),  # In lines of 76 characters, as GitHub has it.
    }


def app(each: App, api: str, html: str) -> dict[str, Any]:
    """Return an App, as it sees itself."""
    return {
        "id": each.id,
        "client_id": each.client_id,
        "slug": each.slug,
        "node_id": node_id("Integration", each.id),
        "owner": user("acme", api, html),
        "name": each.slug,
        "description": None,
        "external_url": "https://example.com",
        "html_url": f"{html}/apps/{each.slug}",
        "created_at": _EPOCH,
        "updated_at": _EPOCH,
        "permissions": each.permissions,
        "events": [],
    }


def installation(each: Installation, api: str, html: str) -> dict[str, Any]:
    """Return an installation, as its App sees it."""
    suspended = each.suspended_at
    return {
        "id": each.id,
        "app_id": each.app.id,
        "client_id": each.app.client_id,
        "app_slug": each.app.slug,
        "target_id": 500,
        "target_type": "Organization",
        "account": user(each.account, api, html),
        "single_file_name": None,
        "repository_selection": "selected",
        "access_tokens_url": f"{api}/app/installations/{each.id}/access_tokens",
        "repositories_url": f"{api}/installation/repositories",
        "html_url": f"{html}/organizations/{each.account}/settings/installations/{each.id}",
        "permissions": each.permissions,
        "events": [],
        "created_at": _EPOCH,
        "updated_at": _EPOCH,
        "suspended_at": None if suspended is None else instant(suspended),
        "suspended_by": None if suspended is None else user("ada", api, html, "User"),
    }
