"""Videos that cannot be used: why, and how many."""

from typing import Literal

Reason = Literal[
    "broken",
    "caption unreadable",
    "file missing",
    "no caption",
    "no video stream",
    "too few frames a second",
    "too short",
    "too small",
    "unknown length",
]

EXAMPLES = 3
"""Names that a report gives for each reason."""


class UnusableVideo(Exception):
    """A video that no clip can be made of.

    Args:
        reason: what is counted.
        detail: what was found, for a reader.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class Tally:
    """Counts skipped videos by reason; a video that is skipped twice for the same reason counts once."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return sum(len(names) for names in self._names.values())

    @property
    def counts(self) -> dict[str, int]:
        """Reason -> number of videos, the most frequent reason first."""
        return {reason: len(names) for reason, names in sorted(self._names.items(), key=lambda item: -len(item[1]))}

    def add(self, name: str, reason: str) -> None:
        """Count one video."""
        self._names.setdefault(reason, {})[name] = None

    def update(self, other: "Tally") -> None:
        """Count everything that `other` counted."""
        for reason, names in other._names.items():
            self._names.setdefault(reason, {}).update(names)

    def report(self) -> str:
        """One paragraph: reasons, counts and the first names of each."""
        if not self._names:
            return "no video was skipped"
        parts = [f"{count} {reason} ({self._examples(reason)})" for reason, count in self.counts.items()]
        return f"{len(self)} skipped: {'; '.join(parts)}"

    def _examples(self, reason: str) -> str:
        names = list(self._names[reason])
        more = [f"{len(names) - EXAMPLES} more"] if len(names) > EXAMPLES else []
        return ", ".join(names[:EXAMPLES] + more)
