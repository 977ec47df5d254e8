"""The reference is what the settings and commands say."""

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parent.parent / "tools" / "reference.py"
SPEC = importlib.util.spec_from_file_location("reference", TOOL)
assert SPEC and SPEC.loader
reference = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(reference)


@pytest.mark.parametrize(
    ("path", "text"), reference.pages().items(), ids=lambda value: getattr(value, "name", "")
)
def test_the_reference_is_up_to_date(path: Path, text: str) -> None:
    assert path.read_text() == text, "run: python tools/reference.py"


def test_every_setting_and_kind_is_explained() -> None:
    """A field without a line below it would be an empty cell."""
    page = reference.settings_page()
    assert "|  |" not in page
    for registry in (reference.ENGINES, reference.TEACHERS, reference.METHODS):
        assert all(f"### {registry.noun} `{name}`" in page for name in registry.built_in)
