from drp.pruning.show import marked
from drp.text.units import split_units
from tests.pruning.scripts import pruned


def test_seams_and_new_text_are_marked() -> None:
    units = split_units("One is here. Two and three go.\n\nFour is said anew.\n\nFive stays.")
    text = marked(units, pruned(units, 1, texts={2: "Four."}))
    assert text == "One is here.⟦−4 words: test⟧\n\n⟦+Four.⟧\n\nFive stays."
    assert marked(units, pruned(units, 0, 3, texts={})) == (
        "⟦−3 words: test⟧Two and three go.\n\nFour is said anew.⟦−2 words: test⟧"
    )
