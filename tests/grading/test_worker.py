"""The process behind the grader: what is around it, how it fails to start, and how it dies."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from drp.errors import GradingError
from drp.grading.grader import Grader


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader() as made:
        yield made


def test_a_file_of_the_working_directory_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty ``random.py`` there kept math-verify from loading, and every answer that needs it was wrong."""
    (tmp_path / "random.py").write_text("")
    (tmp_path / "drp").mkdir()
    (tmp_path / "drp" / "__init__.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    with Grader() as grader:
        assert grader.compare("x^2+2x+1", "(x+1)^2").correct


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("raise ImportError('needs antlr 4.13')", "ImportError: needs antlr 4.13"),
        ("import sys; sys.exit(3)", "status 3"),
        ("", "no attribute"),
    ],
)
def test_a_process_that_does_not_start_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, said: str
) -> None:
    """A broken math-verify is no verdict on any answer: it is said once, with what it said and the mend."""
    (tmp_path / "math_verify.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Grader() as grader:
        with pytest.raises(GradingError, match=f"(?s){said}.*pip install --force-reinstall"):
            grader.compare("x^2+2x+1", "(x+1)^2")
        assert grader.compare("5.0", "5").correct  # what needs no algebra is graded all the same


def test_a_process_that_dies_on_an_item_costs_that_item_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed by the system over one answer, it is started again for the next; the run goes on."""
    (tmp_path / "math_verify.py").write_text(
        "import os\n"
        "def parse(text, **_):\n    print('chatter')\n    if 'DEADLY' in text: os._exit(9)\n    return text\n"
        "def verify(*_, **__): return True\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Grader(processes=1) as grader:
        assert grader.compare("x+1", "1+x").correct  # though the library prints
        assert not grader.compare("DEADLY+1", "1+x").correct
        assert grader.compare("x+1", "1+x").correct
        (process,) = grader._all  # pyright: ignore[reportPrivateUsage]
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        grader.compare("x+1", "1+x")
        assert grader.compare("x+1", "1+x").correct


def test_strict_accepts_marked_answers_only() -> None:
    """As lm-eval's strict-match: an answer in the form that was asked for, not one that is guessed from prose."""
    texts = {"so \\boxed{5}": True, "so\n#### 5": True, "The answer is 5.": False, "He has 5.": False}
    with Grader(strict=True) as strict, Grader() as flexible:
        assert {text: strict.is_correct(text, "5") for text in texts} == texts
        assert all(flexible.is_correct(text, "5") for text in texts)
        assert [flexible.grade(text, "5").reading for text in texts] == [
            "box",
            "####",
            "statement",
            "last_number",
        ]


@pytest.mark.parametrize(
    ("text", "gold", "right"),
    [
        ("So x is \\boxed{3} or \\boxed{5}.", "3, 5", True),
        ("So x is \\boxed{5} or \\boxed{3}.", "\\{3, 5\\}", True),
        ("So x is \\boxed{3} or \\boxed{5}.", "5", True),
        ("So x is \\boxed{3} or \\boxed{5}.", "3, 6", False),
        ("First \\boxed{3}. No, \\boxed{5}.", "3, 5", False),
        ("So \\boxed{3} and \\boxed{5}, that is, \\boxed{3, 5}.", "3, 5", True),
    ],
)
def test_boxes_of_one_statement_are_the_members_of_a_list(
    grader: Grader, text: str, gold: str, right: bool
) -> None:
    """The roots in a box each were refused, as only the last box was read."""
    assert grader.is_correct(text, gold) == right


def test_long_answers_are_not_read(grader: Grader) -> None:
    """No final answer has thousands of characters; the same text as the gold answer is right all the same."""
    assert grader.compare("(" * 5_000, "5").how == "too_long"
    assert grader.compare("1+x+" * 1_000, "1+x+" * 1_000).correct
