# SPDX-License-Identifier: Apache-2.0
"""Fit the calibrated model of outcomes: along a path, confidences are a Markov chain over bins."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from joulet.errors import DataError
from joulet.records import OutcomeModel, SampleOutcomes

DEFAULT_BINS = 8


def fit_outcomes(outcomes: SampleOutcomes, *, n_bins: int = DEFAULT_BINS, smoothing: float = 2.0) -> OutcomeModel:
    """Fit a model to samples.

    Parameters
    ----------
    outcomes : SampleOutcomes
        What an engine said, and whether it was right.
    n_bins : int
        Bins of confidence a node, by quantiles, 1..16.
    smoothing : float
        Pseudo-samples of each transition, drawn as the bin's own distribution, and of each accuracy, at the calibrated
        confidence; 0 for the bare counts.

    Notes
    -----
    Accuracies are made monotone in confidence by pooling neighbours (isotonic regression).
    """
    if outcomes.n_samples == 0:
        raise DataError("a model of outcomes needs one sample or more")
    borders = _borders(outcomes.confidence_q15, n_bins)
    binned = np.stack(
        [np.searchsorted(b, c, side="right") for b, c in zip(borders, outcomes.confidence_q15, strict=True)]
    )
    n_nodes = len(outcomes.nodes)
    confidence = np.zeros((n_nodes, n_bins), np.uint16)
    accuracy = np.zeros((n_nodes, n_bins))
    start = np.zeros((n_nodes, n_bins))
    for node in range(n_nodes):
        counts = np.bincount(binned[node], minlength=n_bins).astype(float)
        start[node] = counts / counts.sum()
        confidence[node] = _bin_confidence(outcomes.confidence_q15[node], binned[node], borders[node], n_bins)
        right = np.bincount(binned[node], outcomes.correct[node], minlength=n_bins)
        prior = confidence[node] / 32768.0
        weight = np.maximum(counts + smoothing, 1e-9)
        accuracy[node] = _isotonic((right + smoothing * prior) / weight, weight)
    links = _links(outcomes.node_of, len(outcomes.node_of[0]))
    transition = np.stack([_transition(binned, start, int(a), int(b), smoothing) for a, b in links])
    return OutcomeModel(
        nodes=outcomes.nodes,
        node_of=outcomes.node_of,
        borders_q15=borders,
        confidence_q15=confidence,
        accuracy=accuracy,
        start=start,
        links=links,
        transition=transition,
    )


def flat_outcomes(
    accuracy: tuple[tuple[float, ...], ...], switches: tuple[tuple[tuple[int, ...], ...], ...] | None
) -> OutcomeModel:
    """Return a model that knows accuracies only: one bin, so that confidence says nothing.

    Parameters
    ----------
    accuracy : tuple
        ``accuracy[path][exit]``, 0..1; where all are 0, deeper counts as better.
    switches : tuple or None
        ``switches[path][exit]``: paths with the same prefix up to that exit; None: no path shares any.
    """
    n_paths, n_exits = len(accuracy), len(accuracy[0])
    first = [
        [min(switches[path][exit]) if switches is not None else path for exit in range(n_exits)]
        for path in range(n_paths)
    ]
    nodes = [(path, exit) for exit in range(n_exits) for path in range(n_paths) if first[path][exit] == path]
    index = {node: at for at, node in enumerate(nodes)}
    node_of = tuple(tuple(index[(first[path][exit], exit)] for exit in range(n_exits)) for path in range(n_paths))
    known = any(any(row) for row in accuracy)
    values = [accuracy[path][exit] if known else (exit + 1) / (n_exits + 1) for path, exit in nodes]
    links = _links(node_of, n_exits)
    count = len(nodes)
    return OutcomeModel(
        nodes=tuple(nodes),
        node_of=node_of,
        borders_q15=np.zeros((count, 0), np.uint16),
        confidence_q15=np.round(np.asarray(values)[:, None] * 32767).astype(np.uint16),
        accuracy=np.asarray(values, np.float64)[:, None],
        start=np.ones((count, 1)),
        links=links,
        transition=np.ones((len(links), 1, 1)),
    )


def _borders(confidence: npt.NDArray[np.uint16], n_bins: int) -> npt.NDArray[np.uint16]:
    """Return borders that split each node's samples evenly; equal ones leave a bin empty."""
    shares = np.arange(1, n_bins) / n_bins
    rows = [np.quantile(row, shares, method="higher") for row in confidence]
    # a border equal to the smallest value would leave the first bin empty and waste it; harmless otherwise
    return np.asarray(rows, np.uint16).reshape(len(confidence), n_bins - 1)


def _bin_confidence(
    values: npt.NDArray[np.uint16], bins: npt.NDArray[np.int64], borders: npt.NDArray[np.uint16], n_bins: int
) -> npt.NDArray[np.uint16]:
    sums = np.bincount(bins, values, minlength=n_bins)
    counts = np.bincount(bins, minlength=n_bins)
    low = np.concatenate([[0], borders]).astype(float)  # an empty bin stands at its lower border
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), low).round(), np.uint16)


def _isotonic(values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the non-falling sequence nearest to ``values`` in weighted least squares (pool adjacent violators)."""
    pools: list[list[float]] = []  # mean, weight, length
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        pools.append([value, weight, 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            mean, other, length = pools.pop()
            total = pools[-1][1] + other
            pools[-1] = [(pools[-1][0] * pools[-1][1] + mean * other) / total, total, pools[-1][2] + length]
    return np.concatenate([np.full(int(length), mean) for mean, _, length in pools])


def _links(node_of: tuple[tuple[int, ...], ...], n_exits: int) -> npt.NDArray[np.int16]:
    found: dict[tuple[int, int], None] = {}
    for row in node_of:
        for to_exit in range(n_exits):
            found[(-1, row[to_exit])] = None
            for from_exit in range(to_exit):
                found[(row[from_exit], row[to_exit])] = None
    return np.asarray(sorted(found), np.int16).reshape(-1, 2)


def _transition(
    binned: npt.NDArray[np.int64], start: npt.NDArray[np.float64], source: int, target: int, smoothing: float
) -> npt.NDArray[np.float64]:
    n_bins = start.shape[1]
    if source < 0:
        return np.tile(start[target], (n_bins, 1))
    joint = np.bincount(binned[source] * n_bins + binned[target], minlength=n_bins * n_bins).reshape(n_bins, n_bins)
    weighted = joint + smoothing * start[target]
    totals = weighted.sum(axis=1, keepdims=True)
    return np.asarray(np.where(totals > 0, weighted / np.maximum(totals, 1e-12), start[target]), np.float64)
