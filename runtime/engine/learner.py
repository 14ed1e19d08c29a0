# SPDX-License-Identifier: Apache-2.0
"""Where labels come from while a model runs, and what of a head outlives a power cut; firmware/refit.c does the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulet.engine.answers import Answers
from joulet.engine.host import HostEngine
from joulet.engine.refit import HeadRefit
from joulet.engine.seam import Array
from joulet.errors import UsageError

SURE_Q15 = 32000
"""Least confidence of the last exit for its answer to count as a label, unless another is given."""


class Learner:
    """Teaches a head from labels, or from the last exit, and keeps it now and then.

    Parameters
    ----------
    refit : HeadRefit
        The head.
    labels : sequence of int, optional
        Class of each sample, heard right after its answer; without, the last exit teaches.
    sure_q15 : int
        Least confidence of the last exit for its answer to count as a label.
    keep_every : int
        Samples learned from between two states that are kept; 0 where nothing outlives power.

    Notes
    -----
    A model that teaches itself confirms its own mistakes: where drift has made the last exit wrong and sure, its early
    exits become so too. Labels from outside are what the design means.
    """

    def __init__(
        self, refit: HeadRefit, *, labels: Sequence[int] | None, sure_q15: int = SURE_Q15, keep_every: int = 8
    ) -> None:
        if keep_every < 0:
            raise UsageError(f"a head is kept every {keep_every} samples; give 1 or more, or 0 for never")
        if labels is not None and any(not 0 <= label < refit.n_classes for label in labels):
            raise UsageError(f"refit: labels must be 0..{refit.n_classes - 1}, as exit {refit.exit} has classes")
        self.refit = refit
        self.keep_every = keep_every
        self.pending: int | None = None
        self.learned = 0
        self._labels, self._sure_q15 = labels, sure_q15
        self._last = len(refit.engine.exit_names) - 1
        self._kept = (refit.state(), 0)
        self._unkept = 0

    def begin(self) -> None:
        """An inference begins: what the last one left is not learned from any more."""
        self.pending = None
        self.refit.forget()

    def answered(self, sample: int, exit: int, confidence_q15: int, predicted: int | None) -> None:
        """An inference has its last answer."""
        if not self.refit.fresh:
            return
        if self._labels is not None:
            self.pending = int(self._labels[sample])
        elif exit == self._last and confidence_q15 >= self._sure_q15:
            self.pending = predicted

    def learn(self) -> None:
        """Learn what is pending."""
        assert self.pending is not None
        self.refit.learn(self.pending)
        self.pending = None
        self.learned += 1
        self._unkept += 1
        if self.keep_every and self._unkept >= self.keep_every:
            self._kept, self._unkept = (self.refit.state(), self.refit.updates), 0

    def lost(self) -> None:
        """Power has failed: what was kept last is what is known."""
        self.begin()
        self._unkept = 0
        self.refit.restore(*self._kept)


class LearningAnswers(Answers):
    """Answers of an engine of which one exit's changes while it learns; those of others are remembered."""

    def __init__(
        self,
        refit: HeadRefit,
        inputs: Sequence[Array],
        labels: npt.NDArray[np.integer] | None,
        prefixes: tuple[tuple[int, ...], ...],
    ) -> None:
        super().__init__(refit.engine, inputs, labels, prefixes)
        self._exit = refit.exit

    def at(self, sample: int, path: int, exit: int) -> tuple[int, int | None]:
        """Return (confidence q15, predicted class or None) of a sample at an exit of a path, as things stand."""
        if exit != self._exit:
            return super().at(sample, path, exit)
        self._running = None if self._running is not None and self._running[2] >= exit else self._running
        return self._compute(sample, path, exit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Events answered at the exit that learns, each judged before its label was learned: n, and how many were right.

    ``shipped`` is what the head that was shipped says of the same events.
    """

    n: int
    right: int
    shipped: int


def judge(container: bytes, exit: int, inputs: Sequence[Array], events: Sequence[tuple[int, int, int, int]]) -> Judged:
    """Return how a learning exit did, beside the head that was shipped.

    Parameters
    ----------
    container : bytes
        The model.
    exit : int
        The exit that learned.
    inputs : sequence of arrays
        Samples ``(n, …)``, one array an input.
    events : sequence of tuple
        (sample, path, predicted, label) of each event that was answered there.
    """
    engine = HostEngine(container)
    shipped = 0
    for sample, path, _, label in events:
        engine.start([x[sample] for x in inputs], path)
        engine.run_to_exit(exit)
        shipped += int(int(np.argmax(engine.answer())) == label)
    return Judged(n=len(events), right=sum(p == label for _, _, p, label in events), shipped=shipped)
