"""Which adapter stands for a trained model, and a server that is made to load it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from drp.engines.adapters import adapter_of
from drp.engines.base import Message, Request, Sampling
from drp.engines.registry import Subject
from drp.engines.served import OpenAISettings
from drp.engines.settings import PromptSettings, StudentSettings
from drp.errors import EngineError
from drp.records import Completion
from drp.runs.concurrency import run_until_done
from tests.loopback import CutConnectionError, Loopback, completion, failure
from tests.served import collect


def adapter(folder: Path, student: str, **config: object) -> Path:
    """Return the folder of a trained model that lies beside an adapter."""
    (folder / "adapter").mkdir(parents=True, exist_ok=True)
    whole = {"base_model_name_or_path": student, "revision": None, "r": 32} | config
    (folder / "adapter/adapter_config.json").write_text(json.dumps(whole))
    return folder / "model"


def test_an_adapter_that_is_not_the_trained_model_is_not_used(student_path: str, tmp_path: Path) -> None:
    """A model merged at half its adapter, or an adapter of another student, would be evaluated as what it is not."""

    def why(**config: object) -> str:
        return str(adapter_of(adapter(tmp_path, student_path, **config), student_path)[1])

    assert "there is no adapter" in str(adapter_of(tmp_path / "nowhere/model", student_path)[1])
    assert adapter_of(adapter(tmp_path, student_path), student_path) == (tmp_path / "adapter", None)
    assert "is of /another" in why(base_model_name_or_path="/another")
    assert "use_dora" in why(use_dora=True)
    assert "above 512" in why(r=1024)
    (tmp_path / "merged.json").write_text('{"strength": 0.5}')
    assert "merged at scale 0.5" in why()


class Server:
    """A server of the student that loads adapters as vLLM does, and forgets them when it starts again."""

    def __init__(self) -> None:
        self.loads, self.loaded, self.restart_after = True, dict[str, str](), -1

    async def models(self, _: web.Request) -> web.Response:
        data = [
            {"id": name, "object": "model", "created": 0, "owned_by": "x"} for name in ("base", *self.loaded)
        ]
        return web.json_response({"object": "list", "data": data})

    async def load(self, request: web.Request) -> web.Response:
        body = await request.json()
        if not self.loads:
            return failure(404, "Not Found")
        if not (Path(body["lora_path"]) / "adapter_config.json").exists():
            return failure(400, f"{body['lora_path']} is no adapter")
        self.loaded[body["lora_name"]] = body["lora_path"]
        return web.Response(text=f"Success: LoRA adapter '{body['lora_name']}' added successfully.")

    async def __call__(self, body: dict[str, Any]) -> web.StreamResponse:
        if self.restart_after == 0:
            self.loaded.clear()
            self.restart_after = -1
            raise CutConnectionError
        self.restart_after -= 1
        if body["model"] not in ("base", *self.loaded):
            return failure(404, f"The model `{body['model']}` does not exist.")
        return completion({"content": f"thought</think>\n\nby {body['model']}"})


@pytest.fixture
def server() -> Iterator[tuple[Server, str]]:
    answers = Server()
    routes = [web.get("/v1/models", answers.models), web.post("/v1/load_lora_adapter", answers.load)]
    made = Loopback(answers, routes)
    yield answers, made.url
    made.stop()


def ask(url: str, model: Path, student: str, *, count: int = 3, **settings: object) -> list[str]:
    """Return what the trained model answers."""
    how = OpenAISettings.model_validate(
        {"base_url": url, "model": "base", "load_adapter": True, "concurrency": 1, "max_retries": 0}
        | settings
    )
    subject = Subject(StudentSettings(model=student), PromptSettings(), str(model), trained=True)
    message = Message(role="user", content="1 + 1 = ?")
    asked = [
        Request(id=str(n), messages=(message,), sampling=Sampling(max_new_tokens=20), seed=n)
        for n in range(count)
    ]

    async def drawn() -> list[str]:
        engine = how.open(subject)
        try:
            found = await collect(engine, asked)
        finally:
            await engine.close()
        return [o.answer if isinstance(o, Completion) else o.message for o in found.values()]

    return run_until_done(drawn())


def test_a_server_loads_the_adapter_under_a_name_of_its_content(
    server: tuple[Server, str], student_path: str, tmp_path: Path
) -> None:
    """Under a name of the user's own an adapter trained anew would be evaluated by what the server had loaded before."""
    answers, url = server
    first = ask(url, adapter(tmp_path / "one", student_path), student_path)
    again = ask(url, adapter(tmp_path / "one", student_path), student_path)
    other = ask(url, adapter(tmp_path / "two", student_path, r=16), student_path)
    assert first == again and first[0].startswith("by drp-") and len({*first, *other}) == 2
    assert sorted(answers.loaded.values()) == [str(tmp_path / "one/adapter"), str(tmp_path / "two/adapter")]


def test_a_server_that_starts_again_is_given_the_adapter_again(
    server: tuple[Server, str], student_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was loaded while it ran is gone with it, and the rest of the evaluation would find no such model."""
    monkeypatch.setattr("drp.engines.openai_engine.LOOK_AGAIN_S", 0.05)
    answers, url = server
    answers.restart_after = 2
    found = ask(url, adapter(tmp_path, student_path), student_path, count=5, max_retries=3)
    assert len(found) == 5 and all(text.startswith("by drp-") for text in found), found


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"loads": False}, "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"),
        ({"trained_model": "mine"}, "set one of them"),
        ({"adapter_of": "/another"}, "since .* is of /another.*trained_model"),
        ({"adapter_of": None}, "there is no adapter in"),
    ],
)
def test_a_server_or_an_adapter_that_will_not_do_is_one_sentence(
    server: tuple[Server, str], student_path: str, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    """An evaluation that went on without would be that of the student itself."""
    answers, url = server
    answers.loads = settings.pop("loads", True)
    of = settings.pop("adapter_of", student_path)
    model = adapter(tmp_path, of) if of else tmp_path / "model"
    with pytest.raises(EngineError, match=said):
        ask(url, model, student_path, **settings)
