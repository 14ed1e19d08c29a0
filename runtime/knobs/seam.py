# SPDX-License-Identifier: Apache-2.0
"""What every knob looks like from outside."""

from __future__ import annotations

from typing import Protocol


class Knob(Protocol):
    """A setting with levels. Nothing changes before :meth:`set`."""

    @property
    def name(self) -> str:
        """Its kind."""

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the levels, the fastest first."""

    @property
    def speeds(self) -> tuple[float, ...]:
        """Clock of each level relative to the fastest, 0..1; 1 where it is not known."""

    @property
    def level(self) -> int:
        """The level it is at."""

    @property
    def dwell_s(self) -> float:
        """It is not worth changing more often than so [s]."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know: levels that the kernel rounds."""

    def set(self, level: int) -> None:
        """Change it, and read back what came of it.

        Raises
        ------
        KnobError
            If it cannot be changed, or something else came of it.
        """

    def saved(self) -> dict[str, str]:
        """Return how it was found, as text by name."""
