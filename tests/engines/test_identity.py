"""Revisions of a model on the hub, from a hub's cache made of the embedded student; nothing here asks the network."""

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants
from transformers import AutoModelForCausalLM

from drp.engines.encoding import prefills_thinking
from drp.engines.identity import model_identity, pretrained, split_revision
from drp.engines.local import TransformersSettings
from drp.engines.registry import Subject
from drp.engines.served import OpenAISettings
from drp.engines.settings import PromptSettings, StudentSettings
from drp.engines.transformers_engine import TransformersEngine, load_tokenizer
from drp.errors import DataError, EngineError
from drp.on_file import OnFile
from drp.preflight import preflight
from drp.recipe import Recipe
from drp.runs.folder import RunFolder
from drp.stages.merge import merge_at
from drp.stages.training_set import to_train
from drp.text.tokens import FileTokenCounter
from drp.training.examples import build_example
from drp.training.settings import TrainSettings
from drp.training.sft import fine_tune

ID = "org/student"
MAIN, TAGGED = "1" * 40, "2" * 40
CONTEXT = {MAIN: 4096, TAGGED: 512}
"""How each commit of the model is told from the other."""


@pytest.fixture(autouse=True)
def hub(student_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds two commits, the branch main and the tag v1.0."""
    repo = tmp_path / "hub" / "models--org--student"
    for commit, context in CONTEXT.items():
        snapshot = repo / "snapshots" / commit
        shutil.copytree(student_path, snapshot)
        config = json.loads((snapshot / "config.json").read_text())
        config["max_position_embeddings"] = context
        (snapshot / "config.json").write_text(json.dumps(config))
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(MAIN)
    (repo / "refs" / "v1.0").write_text(TAGGED)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return repo


def student(revision: str | None) -> StudentSettings:
    return StudentSettings(model=ID, revision=revision, device="cpu")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("org/name@v1.0", ("org/name", "v1.0")),
        ("gpt2@refs/pr/1", ("gpt2", "refs/pr/1")),
        ("org/name", ("org/name", None)),
        ("/runs/a@b/model", ("/runs/a@b/model", None)),
        ("runs/a@b/train/model", ("runs/a", "b/train/model")),
    ],
)
def test_a_revision_is_told_from_a_folder(
    name: str, parts: tuple[str, str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An @ in the name of a folder that is there is part of the name."""
    assert split_revision(name) == parts
    monkeypatch.chdir(tmp_path)
    Path("runs/a@b/train/model").mkdir(parents=True)
    assert split_revision("runs/a@b/train/model") == ("runs/a@b/train/model", None)


@pytest.mark.parametrize(("revision", "commit"), [(None, MAIN), ("v1.0", TAGGED), (MAIN, MAIN)])
def test_a_revision_is_what_is_loaded_and_what_is_identified(revision: str | None, commit: str) -> None:
    """Only main could be had, so a model that its authors changed was another one on every machine."""
    engine = TransformersSettings().open(Subject(student(revision), PromptSettings()))
    assert isinstance(engine, TransformersEngine)
    assert engine.context == CONTEXT[commit]
    assert engine.identity == model_identity(student(revision).source) == {"model": ID, "revision": commit}
    assert FileTokenCounter(student(revision).source)("12 + 3") == FileTokenCounter(ID)("12 + 3")
    assert prefills_thinking(student(revision).source) is True


def test_stages_rest_on_the_commit_not_on_its_name(tmp_path: Path) -> None:
    """Traces of one revision must not pass for those of another; a branch and its commit are one model."""

    def settings(revision: str | None, name: str = ID) -> list[object]:
        recipe = Recipe(student=StudentSettings(model=name, revision=revision, device="cpu"))
        with RunFolder(tmp_path / "run") as run:
            work = OnFile(recipe, run, lambda _: None)
            evaluate = work.evaluate_settings("base", recipe.student.source, [])
            return [work.generate_settings(draws=True), work.train_settings("set-1"), evaluate]

    plain, tagged, commit = settings(None), settings("v1.0"), settings(TAGGED)
    assert plain == settings("main") == settings(MAIN) and tagged == commit
    assert all(one != other for one, other in zip(plain, tagged, strict=True))
    # What the hub cannot be asked about is told apart by its name.
    assert all(a != b for a, b in zip(settings("x", "org/away"), settings("y", "org/away"), strict=True))


def test_a_revision_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(EngineError, match=r"cannot load the student 'org/student@v9'.*a revision it has"):
        load_tokenizer(student("v9").source)
    with pytest.raises(DataError, match="cannot load a tokenizer from 'org/student@v9'"):
        FileTokenCounter(student("v9").source)


def test_the_name_at_an_endpoint_is_the_plain_id() -> None:
    """A server knows nothing of revisions behind an @."""
    served = OpenAISettings(base_url="http://127.0.0.1:9/v1")
    assert served.open(Subject(student("v1.0"), PromptSettings())).name == ID
    assert served.endpoint(student("v1.0"))[0] == ID


def test_what_is_looked_at_before_a_run_may_stay_unknown(tmp_path: Path) -> None:
    recipe = Recipe(student=student("v9"))
    found = {f.what: f for f in preflight(recipe, tmp_path / "run", ["generate"], hub=False)}
    assert found["student"].state == "unknown" and "org/student@v9" in found["student"].detail
    recipe = Recipe(student=student("v1.0"))
    found = {f.what: f for f in preflight(recipe, tmp_path / "run", ["generate"])}
    assert found["student"].state == "ok"


def test_an_adapter_names_the_revision_it_was_trained_on_and_merges_into_it(tmp_path: Path) -> None:
    """PEFT loads a base model by id and revision; the two in one would be a model that nobody has."""
    model, run = to_train(student("v1.0")), tmp_path / "run"
    ask = [{"role": "user", "content": "12 + 3?"}]
    example = build_example(load_tokenizer(model.path), "a", ask, "12 + 3 = 15.", "15")
    fine_tune(model, [example], TrainSettings(rank=4, epochs=1, effective_batch=1), run / "train")
    config = json.loads((run / "train" / "adapter" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == (ID, "v1.0")
    card = (run / "train" / "adapter" / "README.md").read_text()
    assert f"base_model: {ID}\n" in card and f"**{ID}** at revision v1.0" in card
    merged = merge_at(run, 0.5, tmp_path / "half")
    for folder in (run / "train" / "model", merged):
        made = AutoModelForCausalLM.from_pretrained(**pretrained(str(folder)))
        assert made.config.max_position_embeddings == CONTEXT[TAGGED]
