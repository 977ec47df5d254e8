import os
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here may reach the network

import pytest

from drp.engines.identity import resolve_model

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def student_path() -> str:
    return resolve_model("mini")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real benchmarks and traces; $DRP_TEST_DATA, or shared/data beside the checkout."""
    folder = Path(os.environ.get("DRP_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "traces").is_dir():
        pytest.skip("real traces are not on this machine; set DRP_TEST_DATA to their folder")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the long tests first, so that no process is left with them at the end."""
    items.sort(key=lambda item: "test_whole_job" not in item.nodeid and "test_lm_eval" not in item.nodeid)
