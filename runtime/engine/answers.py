# SPDX-License-Identifier: Apache-2.0
"""Answers of an engine to a set of samples, computed once and remembered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from joulet.engine.seam import Array, SteppedEngine
from joulet.errors import DataError


class Answers:
    """Real inference on a set of samples, remembered: the same sample with the same decisions gives the same answer.

    Share one among runs that compare policies over the same input.

    Parameters
    ----------
    engine : SteppedEngine
        What computes.
    inputs : sequence of arrays
        One ``(n, …)`` an input of the model.
    labels : array (n,), optional
        True classes.
    prefixes : tuple
        :attr:`joulet.records.CostTable.prefixes` of the model.
    """

    def __init__(
        self,
        engine: SteppedEngine,
        inputs: Sequence[Array],
        labels: npt.NDArray[np.integer] | None,
        prefixes: tuple[tuple[int, ...], ...],
    ) -> None:
        counts = {len(x) for x in inputs}
        if len(counts) != 1 or 0 in counts:
            raise DataError(f"inputs hold {sorted(counts) or 'no'} samples; all need the same number, one or more")
        self.n_samples = counts.pop()
        if labels is not None and np.asarray(labels).shape != (self.n_samples,):
            raise DataError(f"labels have shape {np.shape(labels)}; {self.n_samples} samples need ({self.n_samples},)")
        self.labels = None if labels is None else [int(label) for label in labels]
        self._engine = engine
        self._inputs = inputs
        self._prefixes = prefixes
        self._known: dict[tuple[int, tuple[int, ...]], tuple[int, int | None]] = {}
        self._running: tuple[int, int, int] | None = None  # sample, path, exit reached

    def at(self, sample: int, path: int, exit: int) -> tuple[int, int | None]:
        """Return (confidence q15, predicted class or None) of a sample at an exit of a path."""
        key = (sample, self._prefixes[path][: exit + 1])
        if key not in self._known:
            self._known[key] = self._compute(sample, path, exit)
        return self._known[key]

    def _compute(self, sample: int, path: int, exit: int) -> tuple[int, int | None]:
        running = self._running
        if running is None or running[0] != sample or running[2] >= exit or not self._shares(running, path):
            self._engine.start([x[sample] for x in self._inputs], path)
        elif running[1] != path:
            self._engine.switch(path)
        reached = self._engine.run_to_exit(exit)
        self._running = (sample, path, exit)
        answer = np.asarray(self._engine.answer()).reshape(-1)
        return int(reached.confidence_q15), int(np.argmax(answer)) if answer.size > 1 else None

    def _shares(self, running: tuple[int, int, int], path: int) -> bool:
        upto = running[2] + 1
        return self._prefixes[running[1]][:upto] == self._prefixes[path][:upto]
