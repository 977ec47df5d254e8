from fractions import Fraction
from importlib.resources import files

from drp.teachers.slicing import content_words, facts, read_lines, unsupported


def test_stop_words_are_data_beside_the_code() -> None:
    assert (files("drp.teachers") / "stopwords.txt").is_file()
    assert content_words("The shells that Tom has are 72") == {"shells", "tom", "72"}


def test_facts_are_numbers_letters_and_longer_expressions() -> None:
    assert facts(r"So \(x^2 - 5x + 6 = 0\) and $y = 2$.") == {
        Fraction(2), Fraction(5), Fraction(6), Fraction(0), "x", "y", "x^2-5x+6",
    }  # fmt: skip


def test_paragraphs_end_at_empty_lines_and_without_any_each_line_is_a_step() -> None:
    parts = read_lines(["One.\n", "Two.\n\n", "Three."])
    assert [line.paragraph for line in parts] == [0, 0, 1] and not any(line.is_step for line in parts)
    steps = read_lines(["One.\n", "Two.\n", "Three."])
    assert [line.paragraph for line in steps] == [0, 1, 2] and all(line.is_step for line in steps)


def test_a_kept_line_must_not_need_what_only_deleted_lines_give() -> None:
    """Only results of equations were looked at: letters, expressions and plain numbers went unseen."""
    lines = read_lines(
        [
            "Let x be the side.\n\n",
            "So x^2 + 4x = 21 holds.\n\n",
            "Completing x^2+4x gives 25.\n\n",
            "It is 5 * 25 = 125.",
        ]
    )
    known = facts("What is it, by 5 and 4 and 2?")
    assert unsupported(lines, [True, False, True, True], known) == {1}
    assert unsupported(lines, [True, True, True, True], known) == set()
    assert unsupported(lines, [True, True, False, True], known) == {2}
