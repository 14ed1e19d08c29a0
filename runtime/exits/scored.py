# SPDX-License-Identifier: Apache-2.0
"""Heads on calibration samples, each judged on samples it was not fitted on, and chains of them before the imported head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulet.exits.confidence import Stops, choose_stops, margin_bins
from joulet.exits.gate import Gate, gated
from joulet.exits.graft import Candidate, Tail
from joulet.exits.heads import IntHead, answers_out_of_fold, logits_quant, margins, quantise
from joulet.exits.ridge import F64, I64, Ridge, fit, temperature
from joulet.ir import Quant
from joulet.quant.probe import Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """A head, and what it makes of each sample: margin bin and whether it is right; ``gate`` lowers its margins."""

    candidate: Candidate
    head: IntHead
    without_fold: tuple[IntHead, ...]
    logits: I64
    bins: I64
    correct: F64
    head_macs: int
    gate: Gate | None = None

    def behind(self, gate: Gate, features: Array, fold: I64) -> Scored:
        """Return the head with the margins that it has behind a gate."""
        share = answers_out_of_fold(gate.without_fold, features, fold)
        margin, _ = margins(gated(self.logits, share, self.head.logits.zero_point))
        head_macs = self.head_macs + features.shape[1]
        return replace(self, gate=gate, bins=margin_bins(margin), head_macs=head_macs)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Imported:
    """The imported head on the same samples, and the MACs up to it."""

    bins: I64
    correct: F64
    macs: int

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(self.correct.mean())

    def stops(self, parts: Sequence[Scored]) -> Stops:
        """Return where a chain of exits before this one stops; what a gate shuts out goes on."""
        bins = np.stack([*(p.bins for p in parts), self.bins])
        correct = np.stack([*(p.correct for p in parts), self.correct])
        heads = np.cumsum([p.head_macs for p in parts])
        macs = [p.candidate.macs + h for p, h in zip(parts, heads, strict=True)]
        macs.append(self.macs + (int(heads[-1]) if len(parts) else 0))
        costs = np.asarray(macs, np.float64) / self.macs
        least = (*(int(p.gate is not None) for p in parts), 0)
        return choose_stops(bins, correct, costs, self.accuracy, least=least)


def score(candidate: Candidate, features: Array, labels: I64, fold: I64, n_classes: int, tail: Tail) -> Scored:
    """Return a head on features ``(n, f)`` int8, its answers those of heads that were fitted without each sample's fold."""
    real = (features.astype(np.float64) - candidate.quant.zero_point) * candidate.quant.scale[0]
    whole = fit(real, labels, n_classes)
    parts: list[Ridge] = []
    scores = np.zeros((len(labels), n_classes))
    for f in range(int(fold.max()) + 1):
        out = fold == f
        part = whole if out.all() else fit(real[~out], labels[~out], n_classes, whole.penalty)
        parts.append(part)
        scores[out] = part.scores(real[out])
    factor, logits = _logit_grid(scores, labels, tail)
    head = quantise(whole, factor, candidate.quant, logits)
    without = tuple(quantise(part, factor, candidate.quant, logits) for part in parts)
    answers = answers_out_of_fold(without, features, fold)
    margin, answer = margins(answers)
    return Scored(
        candidate=candidate,
        head=head,
        without_fold=without,
        logits=answers,
        bins=margin_bins(margin),
        correct=(answer == labels).astype(np.float64),
        head_macs=features.shape[1] * n_classes,
    )


def _logit_grid(scores: F64, labels: I64, tail: Tail) -> tuple[float, Quant]:
    factor = temperature(scores, labels)
    if tail.fixed_logits is None:
        return factor, logits_quant(scores * factor)
    low, high = np.percentile(scores, [0.05, 99.95])
    quant = tail.fixed_logits
    reach_high = (127 - quant.zero_point) * quant.scale[0]
    reach_low = (-128 - quant.zero_point) * quant.scale[0]
    fits = min(reach_high / max(high, 1e-9), reach_low / min(low, -1e-9))
    return min(factor, fits), quant
