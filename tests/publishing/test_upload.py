"""Uploading with the hub's own client, to a hub on loopback."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from huggingface_hub import constants

import drp
from drp.errors import HubError
from tests.loopback import Loopback, failure
from tests.publishing.runs import GOLDEN, make_run

TOKEN = "hf_" + "k9Q" * 11
pytestmark = pytest.mark.filterwarnings("ignore::drp.errors.OldSpellingWarning")
CALL = "from drp.cli.app import main; main()"


class Hub:
    """As much of the hub as a push asks: repositories, what is to be sent how, commits of small files."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []
        self.commits: dict[str, dict[str, bytes]] = {}
        self.tokens: set[str | None] = set()
        self.refusal: tuple[int, str] | None = None
        routes = [
            web.post("/api/repos/create", self.create),
            web.post("/api/validate-yaml", self.validate),
            web.post("/api/{kind:models|datasets}/{org}/{name}/preupload/{revision}", self.preupload),
            web.post("/api/{kind:models|datasets}/{org}/{name}/commit/{revision}", self.commit),
        ]
        self.server = Loopback(self.nothing, routes)
        self.url = self.server.url.removesuffix("/v1")

    async def nothing(self, _: dict[str, Any]) -> web.StreamResponse:
        raise AssertionError("no chat here")

    async def create(self, request: web.Request) -> web.StreamResponse:
        self.tokens.add(request.headers.get("Authorization"))
        if self.refusal:
            return web.json_response({"error": self.refusal[1]}, status=self.refusal[0])
        body = await request.json()
        self.made.append(body)
        kind = "datasets/" if body.get("type") == "dataset" else ""
        return web.json_response({"url": f"{self.url}/{kind}{body['organization']}/{body['name']}"})

    async def validate(self, request: web.Request) -> web.StreamResponse:
        content = (await request.json())["content"]
        return (
            web.json_response({"errors": [], "warnings": []})
            if content.startswith("---")
            else failure(400, "none")
        )

    async def preupload(self, request: web.Request) -> web.StreamResponse:
        files = (await request.json())["files"]
        return web.json_response(
            {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
        )

    async def commit(self, request: web.Request) -> web.StreamResponse:
        lines = [json.loads(line) for line in (await request.text()).splitlines()]
        files = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"])
            for line in lines
            if line["key"] == "file"
        }
        where = "{kind}/{org}/{name}".format(**request.match_info)
        self.commits[where] = files
        return web.json_response(
            {"success": True, "commitOid": "0" * 40, "commitUrl": f"{self.url}/{where}/commit/0"}
        )


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    yield hub
    hub.server.stop()


def command(hub: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-c", CALL, *arguments], capture_output=True, text=True, timeout=120,
        env=kept | {"HF_ENDPOINT": hub, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"} | environment,
    )  # fmt: skip


def test_everything_goes_where_it_was_said(hub: Hub, tmp_path: Path) -> None:
    run = make_run(tmp_path / "mine")
    done = command(hub.url, "push", str(run), "--repo", "me/mini-shorter", "--private")
    assert done.returncode == 0, done.stderr
    assert {where: set(files) for where, files in hub.commits.items()} == {
        f"{kind}/me/mini-shorter{suffix}": {
            str(p.relative_to(run / "push" / part)) for p in (run / "push" / part).rglob("*") if p.is_file()
        }
        for kind, suffix, part in (
            ("models", "-adapter", "adapter"),
            ("models", "", "model"),
            ("datasets", "-traces", "dataset"),
        )
    }
    sent = hub.commits["models/me/mini-shorter"]
    assert sent["model.safetensors"] == (run / "train/model/model.safetensors").read_bytes()
    assert [body.get("private") or body.get("visibility") for body in hub.made] in (
        [True] * 3,
        ["private"] * 3,
    )
    assert hub.tokens == {f"Bearer {TOKEN}"} and TOKEN not in done.stdout + done.stderr
    assert (
        f"model: {run}/push/model (7 files, 8." in done.stdout
        and f"{hub.url}/datasets/me/mini-shorter-traces" in done.stdout
    )


@pytest.mark.parametrize(
    ("refusal", "token", "repo", "message"),
    [
        ((403, "You don't have the rights"), TOKEN, "me/x", "the token may not write there"),
        ((401, f"Invalid credentials {TOKEN}"), TOKEN, "me/x", "it does not know the token"),
        ((507, "full"), TOKEN, "me/x", "run the same command again later"),
        (None, TOKEN, "me/x/y", "give --repo as ORG/NAME"),
        (None, "", "me/x", "there is no token for the hub"),
        ("offline", TOKEN, "me/x", "HF_HUB_OFFLINE is set"),
        ("absent", TOKEN, "me/x", "does not answer"),
    ],
)
def test_refusals_are_one_sentence_that_says_what_to_do(
    hub: Hub,
    tmp_path: Path,
    refusal: Any,
    token: str,
    repo: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub.refusal = refusal if isinstance(refusal, tuple) else None
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9" if refusal == "absent" else hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", refusal == "offline")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("HF_TOKEN", token)
    run = shutil.copytree(GOLDEN, tmp_path / "mine")
    with pytest.raises(HubError, match=message) as error:
        drp.push(run, repo, "dataset")
    assert TOKEN not in str(error.value)
    assert (run / "push/dataset/README.md").exists()  # the same command sends it
