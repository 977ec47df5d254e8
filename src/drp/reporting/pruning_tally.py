"""Figures of pruned traces that go by once, one in memory at a time."""

from array import array
from collections import Counter
from collections.abc import Mapping

from drp.pruning.statistics import action_counts, skill_counts
from drp.records import PrunedTrace


class Means:
    """The mean of every named figure over the rows that have it."""

    def __init__(self) -> None:
        self._values: dict[str, array[float]] = {}

    def add(self, row: Mapping[str, float]) -> None:
        """Take a row."""
        for name, value in row.items():
            self._values.setdefault(name, array("d")).append(value)

    def means(self) -> dict[str, float]:
        """Return the means, in the order in which the figures first came."""
        return {name: sum(found) / len(found) for name, found in self._values.items()}


class PruneTally:
    """What a summary says of pruned traces; where it says nothing else, of the accepted ones."""

    def __init__(self) -> None:
        self.traces = self.accepted = self.repaired = self.polished = 0
        self.dropped, self.waived = Counter[str](), Counter[str]()
        self.actions, self.skills = Counter[str](), Counter[str]()
        self.teachers: set[str] = set()
        """Of all."""
        self.lengths, self.own, self.learnable, self.protocol = Means(), Means(), Means(), Means()

    def count(self, pruned: PrunedTrace) -> None:
        """Take one."""
        self.traces += 1
        self.teachers.add(pruned.teacher)
        self.dropped.update(pruned.failed)
        if not pruned.accepted:
            return
        self.accepted += 1
        self.repaired += pruned.repaired
        self.polished += pruned.polished
        self.actions += action_counts([pruned.script])
        self.skills += skill_counts([pruned.script])
        self.lengths.add({"before": pruned.tokens_before, "after": pruned.tokens_after})
        self.protocol.add(pruned.protocol)
        for check in pruned.checks:
            # What an accepted trace does not pass was not required, in records of earlier versions, too.
            if not (check.required and check.passed):
                self.waived[check.name] += not check.passed
            if check.name == "own_share":
                self.own.add(check.figures)
            elif check.name == "learnable":
                self.learnable.add(check.figures)
