"""What the stand-in for W&B does not do: take runs and uploads.  W&B's own SDK logs versions through it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, Response, jsonify, request

from tests.stand_ins.wandb import Membership, Run, WandbStandIn, graph, manifest
from tests.stand_ins.wandb.serving import Server

Answer = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass
class Upload:
    """A version that is being logged."""

    version: Membership
    digest: str
    files: dict[str, str] = field(default_factory=dict)  # Path in the artifact to where it was put.


class Uploads:
    """A W&B to write to: runs and uploads are taken here, all else is asked of the stand-in behind it.

    Attributes:
        runs: The configuration of each run, by its id.
        used: The ids of versions that runs have used: their lineage.
    """

    def __init__(self, wandb: WandbStandIn) -> None:
        self._wandb = wandb
        self._server = Server(self._create_app())
        self._put: dict[str, bytes] = {}
        self._pending: dict[str, Upload] = {}
        self._clients: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.used: list[str] = []
        self._answers: dict[str, Answer] = {
            "UpsertBucket": self._upsert_bucket,
            "RunResumeStatus": lambda _: {"model": None},
            "OrgFeatureFlags": lambda _: {"organization": {"featureFlags": []}},
            "XXHashDigestsEnabled": lambda _: {"entity": {"xxhashDigestsEnabled": False}},
            "FetchArtifactDigestAlgorithm": lambda _: {"project": None},
            "UseArtifact": self._use,
            "CreateArtifact": self._create,
            "CreateArtifactManifest": lambda _: {"createArtifactManifest": self._manifest()},
            "UpdateArtifactManifest": lambda _: {"updateArtifactManifest": self._manifest()},
            "CreateArtifactFiles": self._files,
            "CommitArtifact": self._commit,
            "ClientIDMapping": lambda asked: {
                "clientIDMapping": {"serverID": self._clients.get(asked["clientID"])}
            },
            "CreateRunFiles": self._run_files,
        }

    def __enter__(self) -> Uploads:  # noqa: PYI034 - typing.Self is newer than our oldest Python
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        """What ``WANDB_BASE_URL`` is set to."""
        return self._server.url

    def _create_app(self) -> Flask:
        app = Flask("wandb-uploads")

        @app.post("/graphql")
        def graphql() -> Response:
            asked = request.get_json()
            user = self._wandb.user_with_key(getattr(request.authorization, "password", None) or "")
            if user is None:
                return Response("{}", 401)
            answer = self._answers.get(graph.operation_name(asked["query"]))
            if answer is not None:
                return jsonify(data=answer(asked.get("variables") or {}))
            status, body = self._wandb.execute(asked["query"], asked.get("variables"), user)
            return Response(json.dumps(body), status, mimetype="application/json")

        @app.put("/put/<token>")
        def put(token: str) -> str:
            self._put[token] = request.get_data()
            return ""

        @app.post("/files/<path:_>")
        def file_stream(_: str) -> Response:
            return jsonify(exitcode=None, limits={})

        return app

    def _address(self) -> str:
        return f"{self.url}/put/{secrets.token_hex(8)}"

    def _upsert_bucket(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.runs[asked["name"]] = json.loads(asked.get("config") or "{}")
        entity = {"id": "RW50aXR5", "name": asked["entity"]}
        bucket = {
            **dict.fromkeys(("description", "config", "sweepName")),
            "id": "UnVu",
            "name": asked["name"],
            "displayName": "glad-sun-1",
            "project": {"id": "UHJvamVjdA", "name": asked["project"], "entity": entity},
            "historyLineCount": 0,
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": True}}

    def _use(self, asked: dict[str, Any]) -> dict[str, Any]:
        wanted = asked.get("input", asked)
        self.used.append(wanted["artifactID"])
        return {"useArtifact": {"artifact": {"id": wanted["artifactID"]}}}

    def _create(self, asked: dict[str, Any]) -> dict[str, Any]:
        wanted = asked["input"]
        path = f"{wanted['entityName']}/{wanted['projectName']}/{wanted['artifactCollectionName']}"
        same = self._committed(path, wanted["digest"])
        version = same or self._wandb.log_artifact(
            path,
            {},
            type=wanted["artifactTypeName"],
            metadata=json.loads(wanted.get("metadata") or "{}"),
            state="PENDING",
            run=Run(wanted["runName"]),
        )
        self._clients[wanted["clientID"]] = version.id
        if same is None:
            self._pending[version.id] = Upload(version, wanted["digest"])
        state = "PENDING" if same is None else "COMMITTED"
        sequence = {"id": version.collection.id, "name": version.collection.name, "latestArtifact": None}
        return {
            "createArtifact": {
                "artifact": {"id": version.id, "state": state, "artifactSequence": sequence},
            }
        }

    def _committed(self, path: str, digest: str) -> Membership | None:
        """The version with this very content, which W&B gives instead of a new one."""
        collection = self._wandb._state.collection(path, "ArtifactSequence")
        return next((each for each in collection.memberships if each.digest == digest), None)

    def _manifest(self) -> dict[str, Any]:
        file = {"id": "RmlsZQ", "uploadUrl": self._address(), "uploadHeaders": []}
        return {"artifactManifest": {"id": "TWFuaWZlc3Q", "file": file}}

    def _files(self, asked: dict[str, Any]) -> dict[str, Any]:
        edges = []
        for each in asked["input"]["artifactFiles"]:
            address = self._address()
            self._pending[each["artifactID"]].files[each["name"]] = address.rpartition("/")[2]
            node: dict[str, Any] = {
                "storagePath": f"wandb_artifacts/{each['name']}",
                "uploadUrl": address,
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": each["artifactID"]},
            }
            edges.append({"node": node})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _commit(self, asked: dict[str, Any]) -> dict[str, Any]:
        upload = self._pending.pop(asked["artifactID"])
        files = {name: self._put[token] for name, token in upload.files.items()}
        built = manifest.build(files, {}, algorithm="MD5", layout="V2")
        if built.digest != upload.digest:
            raise ValueError(f"got files of the digest {built.digest}, {upload.digest} was announced")
        upload.version.artifact.manifest = built
        self._wandb.commit(upload.version)
        return {"commitArtifact": {"artifact": {"id": upload.version.id, "digest": built.digest}}}

    def _run_files(self, asked: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": self._address()} for name in asked["files"]]
        return {"createRunFiles": {"runID": "UnVu", "uploadHeaders": [], "files": files}}
