"""What is registered with transformers under a name."""

from drp.engines import paged_memory, slots
from drp.training import packing


def test_no_two_attentions_have_one_name() -> None:
    """The later import would take the earlier one's place: a prune by the student after a training in one process failed."""
    assert len({paged_memory.ATTENTION, slots.ATTENTION, packing.PACKED}) == 3
