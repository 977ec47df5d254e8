"""The wheel, installed into a fresh environment and used in an empty folder: what a newcomer has, and no checkout."""

import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

import drp
from drp.recipe.shipped import shipped_recipes

ROOT = Path(__file__).resolve().parent.parent


def call(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")} | environment
    return subprocess.run(
        [*map(str, command)], capture_output=True, text=True, timeout=300, cwd=cwd, env=kept
    )


@pytest.mark.slow
@pytest.mark.long
def test_the_wheel_works_in_an_empty_folder(tmp_path: Path) -> None:
    """Recipes used to stand in the checkout alone, so that `pip install` gave a program with nothing to run."""
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    dist, home, empty = tmp_path / "dist", tmp_path / "venv", tmp_path / "empty"
    empty.mkdir()
    built = call(uv, "build", "--quiet", "--wheel", "--out-dir", dist, ROOT, cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    shipped = {f"drp/recipe/shipped/{recipe.name}.yaml" for recipe in shipped_recipes()}
    assert shipped <= set(names) and not [n for n in names if n.startswith(("recipes/", "tests/", "tools/"))]
    # A fresh environment; the libraries are those of the one that runs the tests, and its editable drp is not among them.
    assert call(sys.executable, "-m", "venv", "--without-pip", home, cwd=tmp_path).returncode == 0
    here = Path(
        call(
            home / "bin/python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path
        ).stdout.strip()
    )
    (here / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    installed = call(
        uv, "pip", "install", "--quiet", "--no-deps", "--python", home / "bin/python", wheel, cwd=tmp_path
    )
    assert installed.returncode == 0, installed.stderr
    command = home / "bin/drp"

    where = call(home / "bin/python", "-c", "import drp; print(drp.__file__)", cwd=empty).stdout
    assert where.startswith(str(here)), "the wheel, not the checkout"
    assert call(command, "--version", cwd=empty).stdout == f"drp {drp.__version__}\n"
    begun = call(command, "init", "--student", "mini", cwd=empty, OPENAI_API_KEY="")
    assert begun.returncode == 0, begun.stderr
    assert [path.name for path in empty.iterdir()] == ["recipe.yaml"]
    looked = call(command, "doctor", "recipe.yaml", cwd=empty)
    assert looked.returncode == 0 and "nothing that is needed is missing" in looked.stdout, (
        looked.stdout + looked.stderr
    )
    plan = call(command, "run", "mini", "--dry-run", cwd=empty)
    assert plan.returncode == 0 and plan.stdout.endswith("nothing is known to be missing\n"), (
        plan.stdout + plan.stderr
    )


def test_the_wheel_takes_the_recipes_from_where_they_stand_once() -> None:
    """The same in a second, where the test above is left out: one copy in git, named in the build."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert (
        build["wheel"]["force-include"] == {"recipes": "drp/recipe/shipped"}
        and "/recipes" in build["sdist"]["include"]
    )
    assert not (ROOT / "src/drp/recipe/shipped").exists()
