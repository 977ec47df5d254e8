"""What an installation gets: the wheel, the source distribution and the image."""

import re
import tarfile
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

import drp

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    builders = pytest.importorskip("hatchling.builders.wheel", reason="made with an older `make setup`")
    (path,) = builders.WheelBuilder(str(ROOT)).build(
        directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"]
    )
    return zipfile.ZipFile(path)


def tracked(folder: Path) -> set[str]:
    """Return the files of a folder that are no leftovers of running it."""
    found = (p for p in folder.rglob("*") if p.is_file())
    return {
        str(p.relative_to(folder.parent))
        for p in found
        if "__pycache__" not in p.parts and p.suffix != ".pyc"
    }


def test_the_wheel_holds_the_package_whole_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """Weights, prompts and the page's scripts are files that no import would miss."""
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    recipes = {f"drp/recipe/shipped/{name.partition('/')[2]}" for name in tracked(ROOT / "recipes")}
    assert names == tracked(ROOT / "src" / "drp") | recipes
    about = "\n".join(
        wheel.read(name).decode()
        for name in wheel.namelist()
        if name.endswith(("METADATA", "entry_points.txt"))
    )
    assert f"Name: drp-reasoning\nVersion: {drp.__version__}\n" in about and "drp = drp.cli.app:main" in about
    assert wheel.getinfo("drp/mini/student/model.safetensors").file_size <= 16 << 20
    assert all(f"Provides-Extra: {extra}" in about for extra in ("train", "tensorboard", "wandb", "trackio"))


def test_the_source_distribution_builds_and_tests_itself(tmp_path: Path) -> None:
    """``README.md`` without a slash in front took that of every folder of results along."""
    builders = pytest.importorskip("hatchling.builders.sdist", reason="made with an older `make setup`")
    (path,) = builders.SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(path) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert tracked(ROOT / "src") | tracked(ROOT / "recipes") <= names
    assert {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "constraints.txt",
        "Makefile",
        "tests/conftest.py",
    } <= names
    assert not [name for name in names if name.startswith(("results/", "runs/", ".venv/", "perf/"))]


def test_the_image_is_built_of_what_is_there() -> None:
    """No image can be built where this is tested; what it names must at least exist and agree."""
    text = (ROOT / "Dockerfile").read_text()
    extras = set(PROJECT["project"]["optional-dependencies"])
    (wanted,) = re.findall(r"^ARG EXTRAS=(.+)$", text, re.MULTILINE)
    assert set(wanted.split(",")) <= extras
    assert re.findall(r"uv==[\d.]+", text) == re.findall(r"uv==[\d.]+", (ROOT / "Makefile").read_text())
    assert '\nENTRYPOINT ["drp"]\n' in text and "drp" in PROJECT["project"]["scripts"]
    assert text.index("\nUSER drp\n") > text.rindex("\nRUN ")  # nothing but what it is told runs as root
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    needed = (
        "src/drp/mini/student/model.safetensors",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "constraints.txt",
        "recipes/demo.yaml",
    )
    assert not [
        (path, rule)
        for path in needed
        for rule in ignored
        if fnmatch(path, rule) or path.startswith(f"{rule}/")
    ]
    assert {".git", ".venv", ".env"} <= set(ignored)
