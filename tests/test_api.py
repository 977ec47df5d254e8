"""What `import drp` offers: light to import, documented by examples that run, and changed only on purpose."""

import doctest
import importlib
import inspect
import io
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import drp
from drp.errors import DataError, RecipeError
from drp.recipe import load_recipe

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).parent / "golden" / "api.txt"


def test_importing_the_package_loads_nothing() -> None:
    """A script that only asks for the version, or is about to choose a GPU, must not wait for libraries."""
    code = (
        "import sys\nimport drp\nprint(drp.__version__, 'run' in dir(drp))\n"
        "print(sorted({'torch', 'transformers', 'numpy', 'openai', 'pydantic', 'rich', 'drp.api'} & set(sys.modules)))\n"
        "import drp.api\nprint(sorted({'torch', 'transformers', 'numpy', 'openai', 'rich'} & set(sys.modules)))\n"
        "drp.grade\ntry:\n    drp.prune_all\nexcept AttributeError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    said = [f"{drp.__version__} True", "[]", "[]", "module 'drp' has no attribute 'prune_all'"]
    assert done.stdout.splitlines() == said, done.stderr


def test_files_are_graded_and_compared_without_the_engines(tmp_path: Path) -> None:
    """Reading files would otherwise wait seconds for openai, and torch where it is installed."""
    file = tmp_path / "x.jsonl"
    file.write_text('{"question": "1+1?", "gold": "2", "completion": "2"}\n')
    code = (
        "import sys, drp\ndrp.grade([sys.argv[1]])\ndrp.compare([sys.argv[1], sys.argv[1]])\n"
        "print(sorted({'torch', 'transformers', 'openai'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


def test_no_room_of_the_house_has_the_name_of_a_function() -> None:
    """Importing a submodule sets its name on the package, and `drp.report(run)` would call a module."""
    assert not {module.name for module in pkgutil.iter_modules(drp.__path__)} & set(drp.__all__)
    api = importlib.import_module("drp.api")
    defined = {
        n for n, f in inspect.getmembers(api, inspect.isfunction) if f.__module__.startswith("drp.api.")
    }
    assert {name for name in defined if not name.startswith("_")} == set(drp.__all__)
    assert all(getattr(drp, name) is getattr(api, name) for name in drp.__all__)


def test_signatures_change_only_on_purpose() -> None:
    """Scripts call these; whoever changes one on purpose changes tests/golden/api.txt with it."""
    found = ""
    for name in drp.__all__:
        signature = str(inspect.signature(getattr(drp, name)))
        found += name + re.sub(r"<function (\w+) at 0x\w+>", r"\1", signature).replace("'", "") + "\n"
    assert found == GOLDEN.read_text()


@pytest.mark.slow
def test_the_examples_of_the_documentation_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An example that does not run is worse than none. The later ones continue the run of the first."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    functions = [drp.run, *(getattr(drp, name) for name in drp.__all__ if name != "run")]
    finder, said = doctest.DocTestFinder(recurse=False), io.StringIO()
    for function in functions:
        runner = doctest.DocTestRunner(verbose=False)
        (example,) = finder.find(function, function.__name__, globs={"drp": drp, "Path": Path})
        runner.run(example, out=said.write)
        assert runner.tries > 0 and runner.failures == 0, said.getvalue()


def test_a_recipe_is_a_file_a_folder_a_mapping_or_a_recipe(tmp_path: Path) -> None:
    """One place reads them all, and leaves what it was given as it was."""
    given = {"name": "x", "train": {"epochs": 2}}
    loaded = load_recipe(given, ["train.epochs=5", "prune.teacher.keep_checks=0"])
    assert (loaded.name, loaded.train.epochs, given["train"]) == ("x", 5, {"epochs": 2})
    again = load_recipe(loaded, ["train.epochs=7"])
    assert (again.prune, again.train.epochs, loaded.train.epochs) == (loaded.prune, 7, 5)
    assert load_recipe(loaded) is loaded
    (tmp_path / "recipe.json").write_text(loaded.model_dump_json())
    assert load_recipe(str(tmp_path)) == loaded == load_recipe(tmp_path / "recipe.json")
    with pytest.raises(RecipeError, match=r"the recipe given:\n  train.epoch: unknown field; did you mean"):
        load_recipe({"train": {"epoch": 1}})


def test_mistakes_are_errors_of_ours(tmp_path: Path) -> None:
    """What the command line says of its options, functions say, too, before anything is done."""
    with pytest.raises(RecipeError, match="name a recipe"):
        drp.run(out=tmp_path)
    with pytest.raises(DataError, match="two or more"):
        drp.compare([tmp_path])
    with pytest.raises(DataError, match="no folder"):
        drp.grade("absent.jsonl", out=tmp_path / "absent" / "x.jsonl")


@pytest.mark.parametrize("folder", ["perf", "tools"])
def test_scripts_use_the_api_and_the_rooms(folder: str) -> None:
    """What a script needs of the command line belongs into a room; only those that test or describe commands may look at them."""
    drives = {"robustness.py", "reference.py"}
    scripts = [path for path in sorted((ROOT / folder).glob("**/*.py")) if path.name not in drives]
    assert scripts and not [path for path in scripts if "drp.cli" in path.read_text()]
