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
        "generate.batch_size=3", "evaluate.batch_size=3", "student.device=cpu", "train.device_batch=1",
        "generate.endpoint.base_url=http://x", "evaluate.runs=4",
    ])  # fmt: skip
    assert defining(one) == defining(two)
    assert defining(one) != defining(load_recipe(None, ["generate.sampling.temperature=0.7"]))
    assert defining(one) != defining(load_recipe(None, ["train.rank=4"]))


def test_settings_of_an_unused_teacher_are_no_part_of_fingerprints() -> None:
    def fingerprint(*overrides: str) -> object:
        return defining_pruning(load_recipe(None, overrides).prune)

    assert fingerprint() == fingerprint("prune.llm.model=other")
    assert fingerprint() != fingerprint("prune.rules.keep_checks=3")
    by_model = "prune.teacher=edit_script"
    assert fingerprint(by_model) == fingerprint(by_model, "prune.rules.keep_checks=3")
    assert fingerprint(by_model) != fingerprint(by_model, "prune.llm.model=other")


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
