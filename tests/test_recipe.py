import os
import re
import time
from pathlib import Path

import pytest

from drp.errors import RecipeError
from drp.recipe import Recipe, defining, defining_pruning, load_recipe

ROOT = Path(__file__).resolve().parent.parent
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.name)
def test_every_recipe_loads(path: Path) -> None:
    assert isinstance(load_recipe(path), Recipe)


def test_there_are_recipes() -> None:
    assert RECIPES


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.learning_rte=1"], "did you mean 'learning_rate'"),
        (["generate.sampling.temprature=1"], "did you mean 'temperature'"),
        (["evaluate.benchmarks=[{bench: x}]"], "did you mean 'benchmark'"),
        (["zzz=1"], "known here: name, method, student"),
        (["train.rank=many"], "train.rank.*got 'many'"),
        (["train.rank=0"], "greater than or equal to 1"),
        (["train"], "section.field=value"),
        (["train.rank=3", "train.rank.deep=1"], "rank is a plain value"),
        (["name=[1"], "cannot read the value"),
        (["problems=[{count: 1}]", "problems.7.count=3"], "a position from 0 to 0"),
    ],
)
def test_mistakes_are_explained(overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(None, overrides)


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such recipe"):
        load_recipe(tmp_path / "a.yaml")
    path = tmp_path / "b.yaml"
    path.write_text("- 1\n")
    with pytest.raises(RecipeError, match="a recipe is a mapping"):
        load_recipe(path)
    for content in (b"a: [1\n", b"name: \xe9\n"):
        path.write_bytes(content)
        with pytest.raises(RecipeError, match="is not YAML"):
            load_recipe(path)


LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LAUGHS.encode(), r"more than 10,000 keys and values, aliases spelt out.*line \d+"),
        (("x: &x {a: 1}\ny: {" + ", ".join(f"<<{i}: *x" for i in range(6000)) + "}").encode(), "aliases spelt out"),
        (b"a: &a [*a]\n", r"\*a stands inside what it names.*line 1"),
        (b"[" * 100_000, "nested more than 50 deep"),
        (b"{a: " * 100_000, "nested more than 50 deep"),
        (b"- " * 100_000, "nested more than 50 deep"),
        (b"a: " + b"[" * 100_000 + b"]" * 100_000, "nested more than 50 deep"),
        (b"x: " + b"y" * 1_100_000, "longer than 1,000,000"),
        (b"- 1\n" * 240_000, "more than 10,000"),
        (b"train:\n  rank: 4\n  alpha: 8\n  rank: 8\n", "the key 'rank' stands twice.*line 4"),
        (b"name: a\nname: a\n", "the key 'name' stands twice"),
        (b"train:\n\trank: 4\n", "line 2.*indent with spaces"),
        ("name: a\n".encode("utf-16"), "is not YAML that makes a recipe, in UTF-8"),
        (b"name: a\n---\nname: b\n", "expected a single document"),
        (b"name: a\x00b\n", "not allowed"),
        (b"name: 2024-13-45\n", "a value cannot be read: month"),
        (b"seed: 0x_\n", "a value cannot be read"),
        (b"name: !!timestamp x\n", "a value cannot be read"),
        (b"train: {rank: " + b"9" * 5000 + b"}\n", "a value cannot be read"),
        (b"name: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
        (b"? [1, 2]\n: 3\n", "unhashable key"),
        (b"1: 2\n", "1: unknown field|Keys should be strings"),
        (b"text\n", "a recipe is a mapping of sections, not a str"),
        (b"train: {learning_rate: .nan}\n", "train.learning_rate"),
        (b"train: {learning_rate: .inf}\n", "train.learning_rate: write a finite number"),
        (b"train: {learning_rate: nan}\n", "train.learning_rate"),
        (b"generate: {sampling: {temperature: .inf}}\n", "generate.sampling.temperature: write a finite number"),
        (b"generate: {sampling: {temperature: 'inf'}}\n", "generate.sampling.temperature: write a finite number"),
        (b"prune: {learnability: true, max_nll_rise: .nan}\n", "prune.max_nll_rise: write a finite number"),
        (b"train: {rank: true}\n", "train.rank: write a number, not true"),
        (b"problems: [{count: true}]\n", "problems.0.count: write a number, not true"),
        (b"train: {learning_rate: yes}\n", "train.learning_rate: write a number, not true"),
        (b"generate: {seed: 1000000000000000000000}\n", "generate.seed: write a number of at most 18 digits"),
        (b"name: 5\n", "name: Input should be a valid string \\(got 5\\)"),
        (b"student: {model: 1.5}\n", "student.model: Input should be a valid string"),
        (b"{" + b", ".join(b"k%d: 1" % i for i in range(1000)) + b"}", "and 988 more"),
    ],
)  # fmt: skip
def test_hostile_and_mistaken_recipes_are_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    """Each was a traceback, a minute of waiting, or a run with a number nobody wrote: NaN, or true read as 1."""
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    begun = time.monotonic()
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    said = str(caught.value)
    assert re.search(message, said, re.DOTALL), said
    assert str(path) in said and len(said) < 3000
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.learning_rate=nan", "write a finite number|greater than"),
        ("generate.sampling.temperature=inf", "write a finite number"),
        ("train.rank=true", "write a number, not true"),
        ("train.rank=[[[[[" + "[" * 5000, "nested more than 50 deep"),
        ("a." * 5000 + "b=1", "no field lies that deep"),
        ("problems.²=1", "a position from 0"),
        ("name=2024-13-45", "a value cannot be read"),
    ],
)  # fmt: skip
def test_hostile_overrides_are_one_sentence(override: str, message: str) -> None:
    """What holds for a file holds for the command line."""
    with pytest.raises(RecipeError, match=message):
        load_recipe(None, ["problems=[{count: 1}]", override])


def test_what_the_system_refuses_is_one_sentence(tmp_path: Path) -> None:
    """A folder, a broken run folder, a name too long, a pipe without a writer."""
    with pytest.raises(RecipeError, match=r"is a folder without a recipe\.json"):
        load_recipe(tmp_path)
    with pytest.raises(RecipeError, match="name too long"):
        load_recipe(tmp_path / ("x" * 3000))
    (tmp_path / "recipe.json").mkdir()
    with pytest.raises(RecipeError, match="is a folder; name a recipe"):
        load_recipe(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert load_recipe(tmp_path / "pipe") == Recipe()  # as an empty file: nothing but defaults


def test_anchors_merges_and_a_mark_at_the_start_are_good_yaml(tmp_path: Path) -> None:
    """Sharing a section is what anchors are for; a merged key may be overridden."""
    path = tmp_path / "r.yaml"
    path.write_text(
        "\ufeffgenerate:\n  sampling: &s {temperature: 0.5, top_p: 0.9}\n"
        "evaluate:\n  sampling: &t {<<: *s, temperature: 0.7}\n"
        "prune:\n  llm: {sampling: {<<: *t, top_p: 1.0}}\n"
        if False
        else "\ufeffgenerate:\n  sampling: &s {temperature: 0.5, top_p: 0.9}\n"
        "evaluate:\n  sampling: {<<: *s, temperature: 0.7}\n",
        encoding="utf-8",
    )
    recipe = load_recipe(path)
    assert (recipe.generate.sampling.temperature, recipe.evaluate.sampling.temperature) == (0.5, 0.7)
    assert recipe.evaluate.sampling.top_p == 0.9


def test_overrides_reach_every_depth() -> None:
    recipe = load_recipe(
        RECIPES[0], ["train.learning_rate=1e-4", "problems.0.count=7", "generate.sampling.top_p=0.5"]
    )
    assert recipe.train.learning_rate == 1e-4
    assert recipe.problems[0].count == 7
    assert recipe.generate.sampling.top_p == 0.5


def test_execution_fields_are_no_part_of_fingerprints() -> None:
    one = load_recipe(None)
    two = load_recipe(None, [
        "generate.engine.batch_size=3", "evaluate.engine.batch_size=3", "student.device=cpu", "train.device_batch=1",
        "evaluate.runs=4",
    ])  # fmt: skip
    assert defining(one) == defining(two)
    served, elsewhere = (
        ("generate.engine=openai", "generate.engine.base_url=http://x"),
        ("generate.engine=openai",),
    )
    assert defining(load_recipe(None, served)) == defining(load_recipe(None, elsewhere)) != defining(one)
    assert defining(one) != defining(load_recipe(None, ["generate.sampling.temperature=0.7"]))
    assert defining(one) != defining(load_recipe(None, ["train.rank=4"]))


def test_settings_of_an_unused_teacher_are_no_part_of_fingerprints() -> None:
    def fingerprint(*overrides: str) -> object:
        return defining_pruning(load_recipe(None, overrides).prune)

    assert fingerprint() != fingerprint("prune.teacher.keep_checks=3")
    by_model = "prune.teacher=edit_script"
    assert fingerprint(by_model) == fingerprint("prune.teacher.keep_checks=3", by_model)
    assert fingerprint(by_model) != fingerprint(by_model, "prune.teacher.model=other")


def test_every_field_is_documented() -> None:
    import ast

    for file in ("recipe/settings.py", "training/settings.py", "teachers/rules.py", "pruning/checks.py"):
        tree = ast.parse((ROOT / "src/drp" / file).read_text())
        for cls in (n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)):
            if not any(getattr(b, "id", "") == "Record" for b in cls.bases):
                continue
            for here, below in zip(cls.body, [*cls.body[1:], None], strict=True):
                if isinstance(here, ast.AnnAssign) and cls.name != "Recipe":
                    documented = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
                    assert documented, f"{cls.name}.{ast.unparse(here.target)} has no doc"


def test_protocols_fill_what_a_recipe_leaves_out() -> None:
    recipe = load_recipe(None, ["evaluate.protocol=recommended"])
    assert recipe.evaluate.sampling.max_new_tokens == 32_768 and recipe.evaluate.runs == 5
    assert recipe.prompt.template.endswith("\\boxed{}.") and "{question}" in recipe.prompt.template
    mixed = load_recipe(
        None,
        [
            "evaluate.protocol=greedy",
            "evaluate.runs=2",
            "evaluate.sampling.max_new_tokens=900",
            'prompt.template="Q: {question}"',
        ],
    )
    assert mixed.evaluate.sampling.temperature == 0 and mixed.evaluate.sampling.max_new_tokens == 900
    assert mixed.evaluate.runs == 2 and mixed.prompt.template == "Q: {question}"
    paper = load_recipe(None, ["evaluate.protocol=paper"])
    assert (paper.evaluate.sampling.max_new_tokens, paper.evaluate.runs, paper.prompt.template) == (
        12_000,
        5,
        "{question}",
    )
    with pytest.raises(RecipeError, match="protocol"):
        load_recipe(None, ["evaluate.protocol=papr"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("thinking_tags=[a]", "give two texts"),
        ("thinking_tags=think", "give two texts"),
        ('thinking_tags=["", b]', "must not be empty"),
        ("thinking_tags=[a, a]", "must differ"),
        ('thinking_tags=["<t", "<t>"]', "none may hold the other"),
        ("revision=v1", "only a model on the hub has revisions, and mini is none"),
        ('revision=""', "at least 1 character"),
    ],
)
def test_tags_that_cannot_be_told_apart_and_revisions_of_folders_are_refused(
    override: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(None, [f"student.{override}"])


def test_a_revision_stands_behind_the_id() -> None:
    student = load_recipe(None, ["student.model=org/name", "student.revision=refs/pr/1"]).student
    assert (student.model, student.source) == ("org/name", "org/name@refs/pr/1")
    assert Recipe().student.source == "mini"


def test_settings_that_came_later_leave_earlier_runs_as_they_are() -> None:
    """A new field with a default would set every record on file aside as made with other settings."""
    recipe = Recipe()
    assert set(defining(recipe.generate.sampling)) == {"temperature", "top_p", "max_new_tokens"}
    assert set(defining(recipe.prompt)) == {"system", "template"}
    assert set(defining(recipe.student)) == {"model", "dtype"}
    assert defining(load_recipe(None, ["student.thinking_tags=[a, b]"]).student)["thinking_tags"] == [
        "a",
        "b",
    ]
    assert set(defining(recipe.evaluate)) == {"engine", "sampling", "seed"}
    changed = load_recipe(
        None, ["generate.sampling.top_k=20", "prompt.template_arguments={enable_thinking: false}"]
    )
    assert defining(changed.generate.sampling)["top_k"] == 20
    assert defining(changed.prompt)["template_arguments"] == {"enable_thinking": False}
