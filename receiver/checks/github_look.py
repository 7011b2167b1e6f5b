"""I/O: what GitHub lets us do in a repository, found out without starting anything."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from receiver.checks.workflow_file import UnreadableWorkflowError, WorkflowFile
from receiver.exchange import CredentialsError, NoAnswerError, NotSentError, Request
from receiver.github import TO_DISPATCH, TO_READ_RUNS, GitHub, Reply

_WORKFLOWS = ".github/workflows"
_TO_READ = {"contents": "read"}
_TO_START = {"actions": "write"}
_LARGEST = 2 * 1024 * 1024
_MOST_FILES = 100
_EMPTY = b"{}"  # GitHub refuses it once it has seen that we may send: nothing is started.


class LookError(Exception):
    """It could not be found out, or is not allowed; the message says why and what to do."""


class NothingThereError(LookError):
    """There is no such file, or none that we may see."""


class GitHubLook(GitHub):
    """Asks GitHub what a dispatch would meet."""

    def check_dispatch(self, repository: str) -> bool:
        """Pass when we may send a ``repository_dispatch``; True when the repository has moved.

        Raises:
            LookError: We may not.
        """
        return self._probe(repository, "dispatches", TO_DISPATCH)

    def check_start(self, repository: str, workflow: str) -> bool:
        """Pass when we may start workflows; True when the repository has moved.

        Raises:
            LookError: We may not.
        """
        path = f"actions/workflows/{quote(workflow, safe='')}/dispatches"
        return self._probe(repository, path, _TO_START)

    def check_runs(self, repository: str) -> None:
        """Pass when we may read runs, or raise LookError."""
        self._get(repository, "actions/runs?per_page=1", TO_READ_RUNS)

    def workflow(self, repository: str, file: str, ref: str | None = None) -> WorkflowFile:
        """The workflow of that file, on the default branch or on ``ref``.

        Raises:
            NothingThereError: There is none.
            LookError: It cannot be read.
        """
        at = f"?{urlencode({'ref': ref})}" if ref else ""
        path = f"contents/{_WORKFLOWS}/{quote(file, safe='')}{at}"
        return _parsed(file, self._get(repository, path, _TO_READ))

    def workflows(self, repository: str) -> tuple[Sequence[WorkflowFile], Sequence[str]]:
        """Every workflow on the default branch, and why others could not be read.

        Raises:
            NothingThereError: There is none.
            LookError: They cannot be listed.
        """
        listed = self._get(repository, f"contents/{_WORKFLOWS}", _TO_READ)
        names = [str(each.get("name")) for each in listed] if isinstance(listed, list) else []
        files: list[WorkflowFile] = []
        unread: list[str] = []
        for name in [name for name in names if name.endswith((".yml", ".yaml"))][:_MOST_FILES]:
            try:
                files.append(self.workflow(repository, name))
            except LookError as error:  # noqa: PERF203 - each round asks GitHub
                unread.append(str(error))
        return files, unread

    def _probe(self, repository: str, path: str, permissions: Mapping[str, str]) -> bool:
        request = Request("POST", f"{self._repository_url(repository)}/{path}", _EMPTY)
        good = {HTTPStatus.UNPROCESSABLE_ENTITY}
        return self._checked(request, repository, permissions, good).answer.moved

    def _get(self, repository: str, path: str, permissions: Mapping[str, str]) -> Any:
        request = Request("GET", f"{self._repository_url(repository)}/{path}", largest=_LARGEST)
        return self._checked(request, repository, permissions, {HTTPStatus.OK}).answer.document

    def _checked(
        self, request: Request, repository: str, permissions: Mapping[str, str], good: Collection[int]
    ) -> Reply:
        try:
            reply = self._ask(request, repository, permissions)
        except (CredentialsError, NotSentError, NoAnswerError) as error:
            raise LookError(str(error)) from error
        if reply.answer.status in good:
            return reply
        kind = NothingThereError if reply.answer.status == HTTPStatus.NOT_FOUND else LookError
        raise kind(self._outcome(reply, repository).detail)


def _parsed(name: str, document: Any) -> WorkflowFile:
    content = document.get("content") if isinstance(document, dict) else None
    try:
        return WorkflowFile.parse(name, base64.b64decode(content or "").decode("utf-8"))
    except UnreadableWorkflowError as error:
        raise LookError(str(error)) from error
    except ValueError as error:
        raise LookError(f"{name}: GitHub's answer is no file: {type(error).__name__}") from error
