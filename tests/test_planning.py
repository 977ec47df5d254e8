"""What is said before anything runs: the plan of a recipe, and what its teacher would cost; on the embedded student."""

from pathlib import Path

import pytest

from drp.errors import DrpError
from drp.forecasting.hardware import hardware_of
from drp.planning import estimate_costs, plan
from drp.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[1]
MINI, GOLDEN = ROOT / "recipes/mini.yaml", ROOT / "tests/runs/golden_run"
ASKING = ["prune.teacher=edit_script"]
"""A teacher that costs something."""


def test_a_plan_has_a_line_for_every_stage_and_leaves_nothing_behind(tmp_path: Path) -> None:
    lines = plan(load_recipe(MINI), tmp_path / "run", 7)
    stages = [line.partition(":")[0] for line in lines[: lines.index("")]]
    assert stages == ["recipe mini", "student mini", "generate", "prune", "train", "evaluate"]
    assert lines[2].startswith("generate: 7 problems × 1, at most 1,200 tokens each")
    assert "mini-gsm (7)" in lines[5] and lines[-1] == "nothing is known to be missing"
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_counted_and_named_and_hides_nothing_else(tmp_path: Path) -> None:
    """A problem file that cannot be read must not end the plan: the other lines say what else is to be mended."""
    recipe = load_recipe(None, ["student.device=cuda:99", "problems=[{path: no/such.jsonl}]"])
    lines = plan(recipe, tmp_path / "run")
    assert any(line.startswith("generate: 0 problems") for line in lines)
    needs = lines[lines.index("what it needs:") + 1 : -1]
    missing = [line for line in needs if line.split()[0] == "PROBLEM"]
    assert [("no/such.jsonl" in line, "cuda:99" in line) for line in missing] == [
        (True, False),
        (False, True),
    ]
    assert lines[-1] == "2 problem(s) would stop this run"


def test_an_estimate_without_traces_assumes_their_length_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    recipe = load_recipe(None, ASKING)
    few = estimate_costs(recipe, tmp_path, None, said.append, limit=10, trace_tokens=1000)
    asked = ["edit_script", "edit_script/json", "two_stage", "direct", "none"]
    assert [e.protocol for e in few] == [*asked, "student"]
    assert {e.traces for e in few} == {10} and "assuming 1,000 tokens each" in said[0]
    many = estimate_costs(recipe, tmp_path, None, said.append, limit=20, trace_tokens=1000)
    longer = estimate_costs(recipe, tmp_path, None, said.append, limit=10, trace_tokens=2000)
    for one, twice in zip(few, many, strict=True):
        assert twice.usage.completion_tokens == pytest.approx(2 * one.usage.completion_tokens, abs=1)
        assert twice.online_usd and one.online_usd
        assert one.gpu or one.batch_usd == pytest.approx(one.online_usd / 2)
        assert twice.online_usd == pytest.approx(2 * one.online_usd, rel=1e-3)
    grown = {
        b.protocol for a, b in zip(few, longer, strict=True) if b.usage.prompt_tokens > a.usage.prompt_tokens
    }
    assert grown == {"edit_script", "edit_script/json", "two_stage", "none"}  # direct sees the question alone


def test_an_estimate_measures_the_traces_on_file_that_a_teacher_would_see() -> None:
    """One of the five never closed its thinking: it is excluded before any teacher, and costs nothing."""
    said: list[str] = []
    found = estimate_costs(load_recipe(None, ASKING), GOLDEN, None, said.append)
    assert said == ["measured on 4 traces worth pruning of 5 on file"]
    assert {e.traces for e in found} == {4}
    by_name = {e.protocol: e.usage.completion_tokens for e in found}
    assert by_name["edit_script"] < by_name["two_stage"]  # decisions, not copies


def test_what_cannot_be_estimated_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DrpError, match="the rules teacher costs nothing"):
        estimate_costs(load_recipe(None), tmp_path, None, print)
    with pytest.raises(DrpError, match=r"run `drp generate` first, or give --traces FILE"):
        estimate_costs(load_recipe(None, ASKING), tmp_path, None, print, probe_traces=2)


def test_the_student_teacher_is_priced_in_hours_of_a_gpu_beside_the_language_models(tmp_path: Path) -> None:
    recipe = load_recipe(ROOT / "recipes/r1_qwen_1.5b.yaml")
    found = estimate_costs(recipe, tmp_path, None, print, hardware=hardware_of("a100-80", 2.0))
    (own,) = [one for one in found if one.chosen]
    assert (own.protocol, own.traces, own.gpu) == ("student", 7473, "a100-80 at $2 an hour")
    assert 0.5 < own.hours < 5 and own.online_usd == pytest.approx(2 * own.hours)
    assert {one.model for one in found if not one.gpu} == {"gpt-4o"}
    with pytest.raises(DrpError, match=r"drp plan RECIPE --probe"):
        estimate_costs(recipe, tmp_path, None, print, probe_traces=2)
