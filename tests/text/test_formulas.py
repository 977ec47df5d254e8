import pytest

from drp.text.formulas import find_formulas, flatten, letters, sides


@pytest.mark.parametrize(
    ("text", "formulas"),
    [
        ("So 2x + 3 = 7, hence x = 2.", ("2x+3=7", "x=2")),
        (r"\[ A = P \left(1 + \frac{r}{12}\right)^{3} \]", ("A=P(1+r/12)^3",)),
        (r"\(\frac{1}{2} \times 8 = 4\)", ("1/2*8=4",)),
        ("a 25% discount on $19.50, and I saw 3 of them", ()),
        ("3 x 4 = 12", ("3*4=12",)),
        ("- item 5 - that works", ()),
        ("AB = 5", ("AB=5",)),
    ],
)  # fmt: skip
def test_formulas_in_prose_and_latex_are_spelled_alike(text: str, formulas: tuple[str, ...]) -> None:
    assert find_formulas(text) == formulas


def test_a_flat_text_keeps_its_words() -> None:
    assert flatten(r"The area is \(\dfrac{3}{4}\) of $1,000$.").split() == [
        "The",
        "area",
        "is",
        "3/4",
        "of",
        "1000",
        ".",
    ]
    assert sides("x+1=2<y") == ["x+1", "2", "y"] and letters("2x_1+AB") == {"x_1", "AB"}
