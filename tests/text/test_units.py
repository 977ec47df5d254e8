import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drp.text.units import split_units

PIECES = st.sampled_from(
    ["So 3.14 is pi. ", "Wait, no! ", "\n\n", "\n", "$x = 1. Y$", "\\[ a. B \\]", "```py\nx = 1. Y\n```", "e.g. this ",
     "1,000.50. Next", "5! / (2! * 3!) ", "Hmm... ", "Is it? Yes. ", "\t", " ", "é. Ü", "好。再来！", "。”", "\\(", "\\begin{a}", "```", "\f\n", "$$\na. B\n$$", "\\boxed{4}. "]
)  # fmt: skip


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    assert "".join(split_units(text)) == text


@given(st.lists(PIECES, max_size=30))
def test_trace_like_text_comes_back_and_formulas_stay_whole(pieces: list[str]) -> None:
    text = "".join(pieces)
    units = split_units(text)
    assert "".join(units) == text
    if text.strip():
        assert all(unit.strip() for unit in units)
    cuts = {sum(map(len, units[:i])) for i in range(1, len(units))}
    for match in re.finditer(r"(?<=\d)[.,](?=\d)", text):
        assert match.start() not in cuts and match.end() not in cuts


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("It is 3.5 long. So 7.", ["It is 3.5 long.", " So 7."]),
        ("Dr. Fu has 6 cats. He sells 2.", ["Dr. Fu has 6 cats.", " He sells 2."]),
        ("One.\n\nTwo? Three!", ["One.\n\n", "Two?", " Three!"]),
        ("So 5! / (2! * 3!) = 10. Good.", ["So 5! / (2! * 3!) = 10.", " Good."]),
        ("1. First\n2. Second", ["1. First\n", "2. Second"]),
        ("Let $a = 1. B$ be. So \\(c. D\\) too.", ["Let $a = 1. B$ be.", " So \\(c. D\\) too."]),
        ("\\[\nx = 1.\n\\]\nThen", ["\\[\nx = 1.\n\\]\n", "Then"]),
        ("Hmm... wait. Yes.", ["Hmm... wait.", " Yes."]),
        ("他有三个苹果。还剩2.5个！对吗？对。", ["他有三个苹果。", "还剩2.5个！", "对吗？", "对。"]),
        ("答案是5。\n完。", ["答案是5。\n", "完。"]),
        ("他说：“好。”，然后走了。”行。", ["他说：“好。”，然后走了。”", "行。"]),
        ("設 $x。y$ とする。次に。", ["設 $x。y$ とする。", "次に。"]),
        ("Wait... So.", ["Wait...", " So."]),
        ("\\(never closed. Next. \\(a. B\\)", ["\\(never closed. Next. \\(a. B\\)"]),
        ("\\begin{a} x. Y \\end{b} z. W", ["\\begin{a} x.", " Y \\end{b} z.", " W"]),
        ("a\n\f\n\f\nb", ["a\n\f\n\f\n", "b"]),
        ("", []),
        ("  \n", ["  \n"]),
    ],
)
def test_cuts(text: str, units: list[str]) -> None:
    assert split_units(text) == units
