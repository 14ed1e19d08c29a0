# SPDX-License-Identifier: Apache-2.0
"""Events of a run while they live, and the summary of what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from joulet.energy.supply import Supply
from joulet.records import InferenceRecord, Status, Summary


@dataclass(slots=True)
class Event:
    """An event while it lives; becomes an :class:`InferenceRecord`."""

    index: int
    sample: int
    arrival_s: float
    label: int | None
    status: Status = Status.PENDING
    start_s: float | None = None
    end_s: float | None = None
    path: int | None = None
    exit: int | None = None
    confidence_q15: int | None = None
    predicted: int | None = None
    macs: int = 0
    bit_macs: int = 0
    cycles: int = 0
    energy_j: float = 0.0
    decisions: int = 0
    cut: bool = False

    def record(self) -> InferenceRecord:
        """Return the frozen record."""
        answered = self.exit is not None
        known = answered and self.label is not None and self.predicted is not None
        return InferenceRecord(
            index=self.index,
            sample=self.sample,
            arrival_s=self.arrival_s,
            status=self.status,
            start_s=self.start_s,
            end_s=self.end_s,
            path=self.path,
            exit=self.exit,
            confidence_q15=self.confidence_q15,
            predicted=self.predicted,
            label=self.label,
            correct=self.predicted == self.label if known else None,
            mean_bits=self.bit_macs / self.macs if answered and self.macs else None,
            macs=self.macs,
            cycles=self.cycles,
            energy_j=self.energy_j,
            decisions=self.decisions,
            cut=self.cut,
        )


def summarise(
    events: Sequence[Event], *, n_exits: int, labelled: bool, duration_s: float, supply: Supply, decisions: int
) -> Summary:
    """Return the score of a run and what stands beside it."""
    count = {status: sum(event.status is status for event in events) for status in Status}
    served = [event for event in events if event.status in (Status.ON_TIME, Status.LATE)]
    latencies_s = [(event.end_s or 0.0) - event.arrival_s for event in served]
    p50, p95, p99 = np.percentile(latencies_s, [50, 95, 99]).tolist() if served else (None, None, None)
    correct = None
    if labelled:
        correct = sum(event.status is Status.ON_TIME and event.predicted == event.label for event in events)
    macs = sum(event.macs for event in served)
    compute_j, abandoned_j = supply.ledger.balance_j("compute"), supply.ledger.balance_j("abandoned")
    taken = [event.exit for event in served if event.exit is not None]
    return Summary(
        arrived=len(events),
        served=len(served),
        on_time=count[Status.ON_TIME],
        late=count[Status.LATE],
        missed=count[Status.MISSED],
        dropped=count[Status.DROPPED],
        expired=count[Status.EXPIRED],
        lost=count[Status.LOST],
        pending=count[Status.PENDING],
        correct_on_time=correct,
        score=None if correct is None or not events else correct / len(events),
        mean_bits=sum(event.bit_macs for event in served) / macs if macs else None,
        mean_exit=sum(taken) / len(taken) if taken else None,
        exits_taken=tuple(taken.count(exit) for exit in range(n_exits)),
        brownouts=supply.brownouts,
        cut=sum(event.cut for event in events),
        off_s=supply.off_s,
        off_fraction=supply.off_s / duration_s,
        longest_outage_s=supply.longest_outage_s,
        latency_p50_s=p50,
        latency_p95_s=p95,
        latency_p99_s=p99,
        mean_energy_j=sum(event.energy_j for event in served) / len(served) if served else None,
        useful_fraction=compute_j / (compute_j + abandoned_j) if compute_j + abandoned_j > 0.0 else None,
        decisions=decisions,
    )
