"""`drp init`: whatever is wished and whatever the student's files say, the recipe loads, is short, and fits them."""

import itertools
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from drp.beginning import MOST_LINES, Begun, Wishes, begin
from drp.checkup import checkup
from drp.engines.student_files import student_files
from drp.errors import DataError, RecipeError
from drp.recipe import load_recipe

KEYS = ("OPENAI_API_KEY", "DEEPSEEK_API_KEY", "OPENROUTER_API_KEY", "GEMINI_API_KEY")
QWEN3 = (
    "{%- for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n"
    "{%- if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
MAGISTRAL = (
    "{{ bos_token }}{% for m in messages %}[INST]{{ m.content }}[/INST]{% endfor %}{# [THINK] .. [/THINK] #}"
)


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


def made(tmp_path: Path, **wishes: object) -> Begun:
    return begin(tmp_path / "r.yaml", Wishes.model_validate(wishes), hub=False)


def checkpoint(tmp_path: Path, student_path: str, template: str, **special: str) -> str:
    """Return a folder with the embedded student's files and another template, as a user's checkpoint would be."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(student_path, folder)
    (folder / "chat_template.jinja").write_text(template)
    (folder / "tokenizer.json").write_text(
        json.dumps({"added_tokens": [{"content": t} for t in special.values()]})
    )
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": {"content": "<s>"}}))
    return str(folder)


def test_every_combination_of_wishes_loads_and_is_short(tmp_path: Path) -> None:
    file = tmp_path / "my problems.jsonl"
    file.write_text('{"question": "1 + 1?", "gold": "2"}\n')
    students = ("mini", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "Qwen/Qwen3-4B@main", "org/some-model")
    problems = ("mini-gsm", "gsm8k", str(file), "org/data")
    teachers = (
        "student",
        "rules",
        "edit_script",
        "two_stage:my: model",
        "direct:deepseek-v3",
        "edit_script:deepseek-v4-flash",
    )
    combinations = list(itertools.product(students, problems, teachers))[
        ::5
    ]  # each with each, not all with all
    for number, (student, train, teacher) in enumerate(combinations):
        wishes = Wishes(student=student, problems=train, teacher=teacher, gpu_memory=(0, 24, 80)[number % 3])
        begun = begin(tmp_path / f"{number}.yaml", wishes, hub=False)
        recipe = load_recipe(begun.path)
        assert begun.text.count("\n") <= MOST_LINES and max(map(len, begun.text.splitlines())) < 160
        assert recipe.student.model == student and recipe.prune.teacher.kind == teacher.partition(":")[0]
        assert recipe.problems[0].path == (file if train == str(file) else None)


def test_nothing_that_the_recipe_needs_is_missing(tmp_path: Path) -> None:
    """What `--dry-run` looks at, without the seconds that torch takes."""
    found = checkup(load_recipe(made(tmp_path, student="mini").path), tmp_path / "run")
    assert [look for look in found if look.state != "ok"] == []


def test_what_the_template_does_stands_in_the_recipe(tmp_path: Path, student_path: str) -> None:
    folder = checkpoint(tmp_path, student_path, QWEN3, a="<think>", b="</think>")
    begun = made(tmp_path, student=folder)
    assert load_recipe(begun.path).prompt.template_arguments == {"enable_thinking": True}
    assert "opened by the student itself" in begun.notes[0]
    known = student_files(folder)
    assert known and known.switch == "enable_thinking" and known.prefilled is False
    assert known.prompt({"enable_thinking": False}).endswith("</think>\n\n")


def test_other_tags_are_told_from_the_tokenizer(tmp_path: Path, student_path: str) -> None:
    folder = checkpoint(tmp_path, student_path, MAGISTRAL, a="[THINK]", b="[/THINK]")
    begun = made(tmp_path, student=folder)
    assert load_recipe(begun.path).student.thinking_tags == ("[THINK]", "[/THINK]")
    known = student_files(folder)
    assert known and known.prompt(question="Hi").startswith("<s>[INST]Hi[/INST]")


def test_a_template_that_is_a_hostile_program_is_rendered_in_a_sandbox(
    tmp_path: Path, student_path: str
) -> None:
    """A checkpoint from anywhere must not run code, nor stop `drp init`."""
    hostile = "{{ messages.__class__.__mro__[1].__subclasses__() }}</think>"
    known = student_files(checkpoint(tmp_path, student_path, hostile))
    assert known and known.prefilled is None


def test_the_embedded_student_is_known_from_its_files() -> None:
    """The size by the configuration must be the size of the weights."""
    from safetensors import safe_open

    known = student_files("mini")
    assert (
        known
        and known.source == "files"
        and known.prefilled
        and known.switch is None
        and known.context == 2048
    )
    with safe_open(Path(__file__).parents[2] / "src/drp/mini/student/model.safetensors", "np") as weights:
        count = sum(math.prod(weights.get_slice(name).get_shape()) for name in list(weights.keys()))
    assert known.parameters == pytest.approx(count, rel=0.01)


def test_a_student_out_of_reach_is_known_by_its_family_or_said_to_be_assumed(tmp_path: Path) -> None:
    r1 = begin(
        tmp_path / "a.yaml",
        Wishes(student="deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", gpu_memory=80),
        hub=False,
    )
    assert "known of its family" in r1.notes[0] and "its template opens the thinking" in r1.text
    other = begin(tmp_path / "b.yaml", Wishes(student="org/new-model", gpu_memory=80), hub=False)
    assert "assumed" in other.notes[0] and "drp doctor" in other.notes[0]


def test_a_key_chooses_its_provider_and_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_recipe(made(tmp_path, student="mini").path).prune.teacher.kind == "student"
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-very-secret")
    begun = begin(tmp_path / "k.yaml", Wishes(student="mini"), hub=False)
    recipe = load_recipe(begun.path)
    asked = recipe.prune.teacher.asked()
    assert asked and asked[0] == "deepseek-v4-flash" and asked[1].provider == "deepseek"
    assert recipe.prune.budget_usd and "sk-very" not in begun.text + " ".join(begun.notes)
    served = begin(
        tmp_path / "u.yaml",
        Wishes(student="mini", teacher="edit_script:m", teacher_url="http://localhost:1/v1"),
        hub=False,
    )
    found = load_recipe(served.path).prune.teacher.asked()
    assert found and found[1].base_url == "http://localhost:1/v1" and "budget" not in served.text


def test_more_memory_means_larger_batches(tmp_path: Path) -> None:
    sizes: list[tuple[int, int]] = []
    for memory in (8, 24, 80):
        recipe = load_recipe(
            begin(tmp_path / f"{memory}.yaml", Wishes(student="org/R1-7B", gpu_memory=memory), hub=False).path
        )
        sizes.append((recipe.generate.engine.model_dump()["batch_size"], recipe.train.device_batch))
    assert sizes[0] == (1, 1) and sizes[0] < sizes[1] < sizes[2] and sizes[2][1] == 8


@pytest.mark.parametrize(
    ("wishes", "kind", "message"),
    [
        ({"student": "no/such/folder"}, RecipeError, "no folder here, and no id of the hub"),
        ({"problems": "absent.jsonl"}, RecipeError, "no file here and no benchmark"),
        ({"problems": "math500"}, RecipeError, "is to evaluate on"),
        ({"teacher": "gpt"}, RecipeError, "there is no teacher 'gpt'"),
        ({"teacher": "student:gpt-4o"}, RecipeError, "asks no model"),
        ({"benchmarks": ["gsm8k"] * 30}, RecipeError, "too many to begin with"),
        ({"problems": __file__}, DataError, "line 1"),
    ],
)  # fmt: skip
def test_a_mistaken_wish_is_one_sentence_and_writes_nothing(
    tmp_path: Path, wishes: dict[str, object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        made(tmp_path, **({"student": "mini"} | wishes))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_exists_stays(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("mine")
    with pytest.raises(RecipeError, match="exists already"):
        made(tmp_path, student="mini")
    with pytest.raises(RecipeError, match="is no folder"):
        begin(tmp_path / "absent" / "r.yaml", Wishes(student="mini"))
    assert (tmp_path / "r.yaml").read_text() == "mine"


def test_a_person_is_asked_for_what_is_left_out(tmp_path: Path) -> None:
    """Each suggestion rests on the answers before it; an empty answer takes it."""
    asked: list[tuple[str, str]] = []
    answers = iter(["Qwen/Qwen3-1.7B", "", "rules"])

    def ask(question: str, suggested: str) -> str:
        asked.append((question.split()[0], suggested))
        return next(answers)

    begun = begin(tmp_path / "r.yaml", Wishes(gpu_memory=0), ask, hub=False)
    assert asked == [("Student", "mini"), ("Problems", "gsm8k"), ("Teacher", "student")]
    recipe = load_recipe(begun.path)
    assert (recipe.student.model, recipe.prune.teacher.kind) == ("Qwen/Qwen3-1.7B", "rules")


def test_on_a_real_terminal_it_asks(tmp_path: Path) -> None:
    """Through a pseudo-terminal, as a person meets it: Enter three times."""
    code = "import pty, sys; sys.exit(pty.spawn([sys.executable, '-m', 'drp', 'init']) >> 8)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input="\n\n\n",
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 0 and "Student (mini" in done.stdout and "next:" in done.stdout, done.stdout
    assert load_recipe(tmp_path / "recipe.yaml").name
