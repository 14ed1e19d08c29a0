# SPDX-License-Identifier: Apache-2.0
"""Nested weights: how each layer is stored, what a precision reads, and which layers keep 8 bits in ``mix``.

An int8 weight q is two nibbles, q + 128 = 16 u + l. Eight bits read both; four bits read q as 16 u − 120.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.ir import Graph, Op, Precision
from joulet.quant.bare import fits_nested, weighted_ops
from joulet.quant.bias import closed_form_bias, mean_maps
from joulet.quant.probe import Array, Execute, Setting, full, live_at, probe, spread_samples

MIX_BUDGET = 0.70
"""Weight bytes of ``mix`` as a share of those of ``w8``; ``w4`` has one half."""

ZERO_SHARE_FOR_S8 = 0.5
"""A layer with this share of zero weights keeps 8 bits in ``mix``, because four bits have no zero."""

_SENSITIVITY_SAMPLES = 96
_GRAIN = 1000  # parts of the cost at 8 bits that the budget is counted in


def read_at(weights: npt.NDArray[Any], bits: int) -> npt.NDArray[np.int64]:
    """Return int8 weights as a precision of ``bits`` (8 or 4) reads them."""
    q = np.asarray(weights).astype(np.int64)
    return q if bits == 8 else 16 * ((q + 128) >> 4) - 120


def weight_bytes(graph: Graph, op: Op, bits: int) -> int:
    """Return the weight bytes that one execution of a layer touches [bytes]."""
    return (graph.tensors[op.inputs[1]].elements * bits + 7) // 8


def head_ops(graph: Graph) -> frozenset[int]:
    """Return the weighted ops of heads that were attached here; they are small and stay at 8 bits."""
    added = {index for index, exit in enumerate(graph.exits) if exit.origin.value != "imported"}
    return frozenset(index for index in weighted_ops(graph) if graph.ops[index].exit in added)


def can_slice(graph: Graph) -> frozenset[int]:
    """Return the weighted ops that may be read at four bits."""
    keep = head_ops(graph)
    return frozenset(i for i in weighted_ops(graph) if i not in keep and fits_nested(graph, graph.ops[i]))


def all_four(graph: Graph) -> Precision:
    """Return ``w4``: four bits wherever the accumulator allows, biases not corrected."""
    sliced = can_slice(graph)
    return Precision(name="w4", bits={i: 4 if i in sliced else 8 for i in weighted_ops(graph)})


def storage_of(graph: Graph, precisions: Sequence[Precision]) -> dict[int, str]:
    """Return how each weighted op is stored: ``nested`` if any precision reads four bits of it, else ``s8``."""
    nested = {i for precision in precisions for i, bits in precision.bits.items() if bits == 4}
    return {i: "nested" if i in nested else "s8" for i in weighted_ops(graph)}


def zero_heavy(graph: Graph) -> frozenset[int]:
    """Return the weighted ops whose weights are mostly zero."""
    found = []
    for index in weighted_ops(graph):
        weights = graph.tensors[graph.ops[index].inputs[1]]
        zero_point = weights.quant.zero_point if weights.quant else 0
        if weights.data is not None and np.mean(np.asarray(weights.data) == zero_point) >= ZERO_SHARE_FOR_S8:
            found.append(index)
    return frozenset(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """A searched assignment: the precision, and the loss each layer at four bits adds on its own."""

    precision: Precision
    sensitivity: dict[int, float]


def search_mix(
    execute: Execute,
    graph: Graph,
    feeds: Mapping[int, Array],
    *,
    budget: float = MIX_BUDGET,
    costs: Mapping[int, tuple[float, float]] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Mix:
    """Choose the layers that keep 8 bits.

    Each layer alone is read at four bits, its bias corrected in closed form, and the mean squared change of the
    logits (variance of the logits as unit) is its sensitivity. The layers that keep 8 bits are those whose
    sensitivities sum to most while their cost stays within ``budget``, to one part in a thousand of the whole.

    Parameters
    ----------
    execute
        Runs probes.
    graph
        Integer graph with exits.
    feeds
        Calibration inputs ``(n, *shape[1:])`` by tensor index; at most 96 samples are used.
    budget
        Cost as a share of that at 8 bits, 0 to 1; for weight bytes 0.5 is all layers at four bits.
    costs
        What a layer costs at 8 and at 4 bits, by op index; its weight bytes by default. What is left out costs nothing.
    progress
        Called with (what, done, total).
    """
    losses = sensitivities(execute, graph, feeds, progress=progress)
    return Mix(precision=mix_within(graph, losses, budget=budget, costs=costs), sensitivity=losses)


def mix_within(
    graph: Graph,
    sensitivity: Mapping[int, float],
    *,
    budget: float = MIX_BUDGET,
    costs: Mapping[int, tuple[float, float]] | None = None,
    name: str = "mix",
) -> Precision:
    """Return the assignment whose layers at four bits lose least within a budget; see :func:`search_mix`.

    Parameters
    ----------
    graph
        Integer graph with exits.
    sensitivity
        What :func:`sensitivities` returns.
    budget, costs
        As :func:`search_mix` has them.
    name
        Of the precision.
    """
    sliced = sorted(can_slice(graph))
    if costs is None:
        ops = graph.ops
        costs = {i: (weight_bytes(graph, ops[i], 8), weight_bytes(graph, ops[i], 4)) for i in sliced}
    chosen = _within_budget(sliced, zero_heavy(graph) & set(sliced), sensitivity, costs, budget)
    return Precision(name=name, bits={i: 4 if i in set(sliced) - chosen else 8 for i in weighted_ops(graph)})


def _within_budget(
    layers: Sequence[int],
    kept: AbstractSet[int],
    gains: Mapping[int, float],
    costs: Mapping[int, tuple[float, float]],
    budget: float,
) -> set[int]:
    """Return the layers that get 8 bits: ``kept``, what is no dearer at 8 bits, and the best of the rest (a knapsack)."""
    total = sum(costs[i][0] for i in layers)
    spare = budget * total - sum(costs[i][0] if i in kept else costs[i][1] for i in layers)
    chosen = set(kept)
    for i in layers:
        if i not in chosen and costs[i][0] <= costs[i][1]:
            chosen.add(i)
            spare += costs[i][1] - costs[i][0]
    rest = [i for i in layers if i not in chosen]
    if sum(costs[i][0] - costs[i][1] for i in rest) <= spare:
        return set(layers)
    unit = total / _GRAIN
    room = int(spare // unit) if unit > 0 else 0
    if room < 0:
        return chosen
    best: list[tuple[float, frozenset[int]]] = [(0.0, frozenset())] * (room + 1)
    for i in rest:
        size = math.ceil((costs[i][0] - costs[i][1]) / unit)
        for left in range(room, size - 1, -1):
            gain, taken = best[left - size]
            if gain + gains[i] > best[left][0]:
                best[left] = (gain + gains[i], taken | {i})
    return chosen | best[room][1]


def sensitivities(
    execute: Execute,
    graph: Graph,
    feeds: Mapping[int, Array],
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[int, float]:
    """Return what each layer that can be sliced loses at four bits on its own: mean squared change of the logits by their variance.

    Parameters
    ----------
    execute
        Runs probes.
    graph
        Integer graph with exits.
    feeds
        Calibration inputs ``(n, *shape[1:])`` by tensor index; at most 96 samples are used.
    progress
        Called with (what, done, total).
    """
    layers, logits = sorted(can_slice(graph)), graph.exits[-1].logits
    feeds = spread_samples(feeds, _SENSITIVITY_SAMPLES)
    means = mean_maps(execute, graph, feeds, layers)
    reference = probe(execute, graph, full(graph), feeds, (logits,))[logits].astype(np.float64)
    unit = max(float(reference.var()), 1e-9)
    losses = {}
    for done, index in enumerate(layers):
        how = full(graph)
        bias = {index: closed_form_bias(graph, index, means[index], means[index], 4)}
        how = replace(how, bits={**how.bits, index: 4}, bias=bias, storage={**how.storage, index: "nested"})
        start = _prefix(execute, graph, feeds, index, logits)
        answer = probe(execute, graph, how, start, (logits,))[logits].astype(np.float64)
        losses[index] = float(np.mean((answer - reference) ** 2)) / unit
        if progress:
            progress("mix: sensitivity of layers", done + 1, len(layers))
    return losses


def _prefix(execute: Execute, graph: Graph, feeds: Mapping[int, Array], op: int, logits: int) -> Mapping[int, Array]:
    live = live_at(graph, op, (logits,))
    if len(live) > 4:
        return feeds
    return probe(execute, graph, full(graph), feeds, live)


def with_bias(precision: Precision, bias: dict[int, npt.NDArray[np.int32]]) -> Precision:
    """Return the precision with corrected biases."""
    return replace(precision, bias=bias)


def setting_of(graph: Graph, precision: Precision) -> Setting:
    """Return how a precision runs when only it decides the storage."""
    return Setting(bits=precision.bits, bias=precision.bias, storage=storage_of(graph, (precision,)))
