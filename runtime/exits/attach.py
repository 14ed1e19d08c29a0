# SPDX-License-Identifier: Apache-2.0
"""Attach early exits to any pre-trained single-exit classifier: pooled features, closed-form heads, a searched choice.

Nothing of the imported network changes. Heads read int8 features that the engine itself computes, their weights are
int8 with one scale a class, and they answer in the quantisation of the model's own output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from joulet.errors import UsageError
from joulet.exits.confidence import Stops, margin_bins
from joulet.exits.gate import Gate
from joulet.exits.gating import with_gates
from joulet.exits.graft import Candidate, Spec, Tail, candidates_of, find_tail, graft, pooled_graph
from joulet.exits.heads import IntHead, margins
from joulet.exits.ridge import I64, folds
from joulet.exits.scored import Imported, Scored, score
from joulet.ir import DType, ExitOrigin, Graph, OpKind
from joulet.passes.macs import macs
from joulet.quant.bare import with_exit
from joulet.quant.probe import Array, Execute, full, probe, spread_samples

Progress = Callable[[str, int, int], None]
MOST_EXITS = 12
_AUTO_EXITS = 3
_MOST_COMBINATIONS = 4000
_MIN_SAMPLES_A_CLASS = 2
_WIDER_IS_WORTH = 0.01  # accuracy
_LEAST_GAIN = 0.01  # of the MACs, for one more exit


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedHead:
    """A head of ours: the integer form that ships, and one fitted without each fold, for honest confidences.

    ``gate`` lowers its confidence, not its answers; None for a head without.
    """

    features: int
    head: IntHead
    without_fold: tuple[IntHead, ...]
    gate: Gate | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attached:
    """A graph with exits, what was fitted for each exit (None for the imported head), and the folds used."""

    graph: Graph
    heads: tuple[FittedHead | None, ...]
    labels: I64
    fold: I64
    notes: tuple[str, ...]

    @staticmethod
    def untouched(graph: Graph) -> Attached:
        """Return a graph as it is, without calibration."""
        none = np.zeros(0, np.int64)
        return Attached(graph=graph, heads=(None,) * len(graph.exits), labels=none, fold=none, notes=())


def wanted_exits(exits: str | int) -> int | None:
    """Return the number of early exits asked for: None for ``auto``, 0 for ``off``."""
    if exits == "auto":
        return None
    if exits == "off":
        return 0
    try:
        count = int(exits)
    except ValueError:
        count = -1
    if not 0 <= count <= MOST_EXITS:
        raise UsageError(f"exits {exits!r}: give auto, off or a number from 1 to {MOST_EXITS}")
    return count


def attach_exits(
    execute: Execute,
    graph: Graph,
    feeds: Mapping[int, Array],
    labels: I64 | None,
    *,
    groups: I64 | None = None,
    exits: str | int = "auto",
    gates: bool = True,
    progress: Progress | None = None,
) -> Attached:
    """Attach exits to an integer graph.

    Parameters
    ----------
    execute
        Runs probes.
    graph
        Integer graph with one output and no exits, or only the imported one.
    feeds
        Calibration inputs ``(n, *shape[1:])`` by tensor index.
    labels
        ``(n,)`` classes, or None to take the model's own answers.
    groups
        ``(n,)`` who or what was recorded; heads are judged on groups they were not fitted on.
    exits
        ``auto`` (up to three and a re-fitted last head), a number of early exits (and a re-fitted last head), ``off``.
    gates
        Whether exits that are too sure of synthetic outliers get a gate (:mod:`joulet.exits.gate`).
    progress
        Called with (what, done, total).

    Raises
    ------
    UsageError
        When exits are asked for by number and the model has no classes, or no layer to attach them to.
    """
    graph = with_exit(graph)
    if labels is not None:
        graph = as_classifier(graph)
    if labels is not None and graph.exits[-1].n_classes >= 2:
        _check_labels(labels, graph.exits[-1].n_classes)
    count = wanted_exits(exits)
    n = len(next(iter(feeds.values())))
    obstacle = _obstacle(graph, n)
    if obstacle and count is not None and count > 0:
        raise UsageError(f"exits {exits!r}: model {graph.name!r} {obstacle}; compile it with --exits off")
    if obstacle or count == 0:
        note = (f"no exits attached: the model {obstacle}",) if obstacle else ()
        none = np.zeros(n, np.int64)
        truth = labels if labels is not None else own_answers(execute, graph, feeds)
        return Attached(graph=graph, heads=(None,) * len(graph.exits), labels=truth, fold=none, notes=note)
    notes: list[str] = []
    if labels is None:
        labels = own_answers(execute, graph, feeds)
        notes.append("labels: none given, so exits and confidences are fitted on the model's own answers")
    fold = folds(labels, groups)
    return _attach(execute, graph, feeds, labels, fold, count, notes, gates=gates, progress=progress)


def as_classifier(graph: Graph) -> Graph:
    """Return a graph whose last exit has classes where labels say that its plain output is a vector of scores.

    A model that answers with at least half as many values as it reads is taken for what it looks like, an autoencoder.
    """
    last = graph.exits[-1]
    producers = {op.outputs[0]: op for op in graph.ops}
    tensor = last.logits
    while tensor in producers and producers[tensor].kind in (OpKind.DEQUANTIZE, OpKind.RESHAPE):
        tensor = producers[tensor].inputs[0]
    scores = graph.tensors[tensor]
    width = scores.shape[-1] if scores.shape else 1
    read = max((graph.tensors[t].elements for t in graph.inputs), default=0)
    vector = scores.dtype is DType.S8 and scores.elements == width >= 2 and 2 * width <= read
    if last.n_classes >= 2 or not vector or tensor not in producers:
        return graph
    return replace(graph, exits=(*graph.exits[:-1], replace(last, logits=tensor, n_classes=width)))


def own_answers(execute: Execute, graph: Graph, feeds: Mapping[int, Array]) -> I64:
    """Return the class the imported model gives each sample, ``(n,)``; zeros for a model without classes."""
    last = graph.exits[-1]
    n = len(next(iter(feeds.values())))
    if last.n_classes < 2:
        return np.zeros(n, np.int64)
    logits = probe(execute, graph, full(graph), feeds, (last.logits,))[last.logits]
    return np.asarray(logits.reshape(n, -1).argmax(axis=1), np.int64)


def _obstacle(graph: Graph, samples: int) -> str:
    if len(graph.exits) > 1:
        return "comes with several exits, which it keeps"
    if graph.exits[-1].n_classes < 2:
        return "has no classes (no softmax, no labels): its confidence is constant and it has one exit"
    if len(graph.outputs) != 1:
        return f"has {len(graph.outputs)} outputs"
    if find_tail(graph) is None:
        return "ends in layers between its last weights and its softmax that a head cannot repeat"
    least = graph.exits[-1].n_classes * _MIN_SAMPLES_A_CLASS
    if samples < least:
        few = f"{samples} calibration samples are too few (give {least}, better ten times that)"
        return f"has {graph.exits[-1].n_classes} classes, for which {few}"
    return ""


def _attach(
    execute: Execute,
    graph: Graph,
    feeds: Mapping[int, Array],
    labels: I64,
    fold: I64,
    count: int | None,
    notes: list[str],
    *,
    gates: bool,
    progress: Progress | None,
) -> Attached:
    tail = find_tail(graph)
    assert tail is not None
    n_classes = graph.exits[-1].n_classes
    pooled, points, features, logits = _features(execute, graph, feeds, tail, progress)
    scored = []
    for done, candidate in enumerate(points):
        scored.append(score(candidate, features[candidate.features], labels, fold, n_classes, tail))
        if progress:
            progress("exits: heads on candidate layers", done + 1, len(points))
    early = _best_pooling([s for s in scored if not s.candidate.refit])
    if count is not None and count > len(early):
        raise UsageError(f"exits {count}: model {graph.name!r} has only {len(early)} layers that can take one")
    refit = next((s for s in scored if s.candidate.refit), None)
    margin, answer = margins(logits.reshape(len(labels), -1))
    right = (answer == labels).astype(np.float64)
    imported = Imported(bins=margin_bins(margin), correct=right, macs=sum(macs(graph)))
    chosen = _search(early, refit, imported, count)
    if count is None and not chosen:
        notes.append("exits: no early exit saves work without losing accuracy on the calibration data")
    everything = [*chosen, *([refit] if refit else [])]
    if gates and everything:
        everything = with_gates(execute, pooled, feeds, everything, features, fold, imported)
    return _graft_all(graph, everything, tail, labels, fold, notes)


def _best_pooling(early: Sequence[Scored]) -> list[Scored]:
    """Return the best way to pool for each layer; wider features must be worth a point."""
    best: dict[int, Scored] = {}
    for one in early:
        rival = best.get(one.candidate.after_op)
        if rival is None or one.correct.mean() > rival.correct.mean() + _WIDER_IS_WORTH:
            best[one.candidate.after_op] = one
    return list(best.values())


def _check_labels(labels: I64, n_classes: int) -> None:
    if labels.min(initial=0) < 0 or labels.max(initial=0) >= n_classes:
        raise UsageError(f"labels must be 0..{n_classes - 1} for this model; found {labels.min()}..{labels.max()}")


def _features(
    execute: Execute, graph: Graph, feeds: Mapping[int, Array], tail: Tail, progress: Progress | None
) -> tuple[Graph, list[Candidate], dict[int, Array], Array]:
    """Return a graph with pooled features, candidates in it, their int8 features by tensor index, and the logits."""
    points = candidates_of(graph, tail)
    few = spread_samples(feeds, 256)
    if progress:
        progress("exits: ranges of pooled features", 0, 1)
    layers = tuple(dict.fromkeys(p.layer for p in points))
    values = probe(execute, graph, full(graph), few, layers)
    pooled, placed = pooled_graph(graph, points, {t: values[t] for t in layers})
    if progress:
        progress("exits: features of the calibration set", 0, 1)
    wanted = tuple(dict.fromkeys([*(p.features for p in placed), graph.exits[-1].logits]))
    found = probe(execute, pooled, full(pooled), feeds, wanted)
    n = len(next(iter(feeds.values())))
    features = {p.features: found[p.features].reshape(n, -1) for p in placed}
    return pooled, placed, features, found[graph.exits[-1].logits]


def _search(early: Sequence[Scored], refit: Scored | None, imported: Imported, count: int | None) -> list[Scored]:
    """Return the exits that save most at the imported model's accuracy, by search over all combinations."""
    base = imported.accuracy
    ending = [refit] if refit else []
    best: tuple[list[Scored], Stops] = ([], imported.stops(ending))
    for size in range(1, _AUTO_EXITS + 1) if count is None else [count]:
        pool = _thinned(early, size)
        found: tuple[list[Scored], Stops] | None = None
        for combination in combinations(pool, size):
            stops = imported.stops([*combination, *ending])
            if found is None or _rank(stops, base) > _rank(found[1], base):
                found = (list(combination), stops)
        if found is None:
            continue
        gain = _rank(found[1], base) - _rank(best[1], base)
        if count is not None or gain > _LEAST_GAIN:
            best = found
    return best[0]


def _rank(stops: Stops, base: float) -> float:
    """Worth of a set of exits: up to one half of the MACs saved a point of accuracy is worth 2.5 % of them, then 25 %."""
    saving = 1.0 - stops.mean_macs
    return min(saving, 0.5) + 0.1 * saving + 2.5 * (stops.accuracy - base)


def _thinned(early: Sequence[Scored], size: int) -> Sequence[Scored]:
    """Return fewer candidates, evenly spread, where all combinations would be too many."""
    keep = len(early)
    while keep > size and _choose(keep, size) > _MOST_COMBINATIONS // 8:
        keep -= 1
    index = np.unique(np.linspace(0, len(early) - 1, keep).round().astype(np.int64))
    return [early[i] for i in index]


def _choose(n: int, k: int) -> int:
    result = 1
    for i in range(k):
        result = result * (n - i) // (i + 1)
    return result


def _graft_all(
    graph: Graph, chosen: Sequence[Scored], tail: Tail, labels: I64, fold: I64, notes: list[str]
) -> Attached:
    specs = []
    for position, part in enumerate(chosen):
        origin = ExitOrigin.REFIT if part.candidate.refit else ExitOrigin.ATTACHED
        name = "refit" if part.candidate.refit else f"exit{position}"
        specs.append(Spec(name=name, origin=origin, point=part.candidate, head=part.head, gate=part.gate))
    grafted, features = graft(graph, specs, tail)
    heads: list[FittedHead | None] = [
        FittedHead(features=t, head=part.head, without_fold=part.without_fold, gate=part.gate)
        for t, part in zip(features, chosen, strict=True)
    ]
    return Attached(graph=grafted, heads=(*heads, None), labels=labels, fold=fold, notes=tuple(notes))
