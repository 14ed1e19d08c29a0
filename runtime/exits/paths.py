# SPDX-License-Identifier: Apache-2.0
"""Operating points: which paths a container offers, and the confidence, accuracy and stopping rule of each.

Every path is run through the engine's own integers on the calibration set. A head of ours is judged by versions of
itself fitted without the sample at hand, so that its confidence is not that of answers it has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulet.exits.attach import Attached
from joulet.exits.confidence import (
    Q15,
    Stops,
    accuracy_q15,
    calibration_error,
    choose_stops,
    confidence_table,
    margin_bins,
    stop_shares,
    threshold_q15,
)
from joulet.exits.cost import exit_macs
from joulet.exits.gate import gated
from joulet.exits.heads import IntHead, answers_out_of_fold, margins
from joulet.ir import WEIGHTED, Graph, Op, OpKind, Path, Precision
from joulet.quant.bare import bias_of, constant_path
from joulet.quant.probe import Array, Execute, Setting, live_at, probe

I64 = npt.NDArray[np.int64]

MOST_SAMPLES = 4096
_CHUNK = 512
_MOST_LIVE = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class PathReport:
    """What a path does on the calibration set; ``stops`` is None where nothing could be calibrated.

    ``calibration_errors`` has the expected calibration error of each exit's confidence, on samples its table has not seen;
    ``shares`` the share of samples that the stopping rule ends at each exit.
    """

    name: str
    accuracies: tuple[float, ...]
    calibration_errors: tuple[float, ...]
    stops: Stops | None
    shares: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    name: str
    precisions: tuple[int, ...]
    switch_at: int | None


def segments(graph: Graph) -> tuple[int, ...]:
    """Return the segment of every op: how many earlier exits have answered when it runs."""
    ready = {exit.output: k for k, exit in enumerate(graph.exits)}
    found, now = [], 0
    last = len(graph.exits) - 1
    for op in graph.ops:
        found.append(op.exit if op.exit is not None else now)
        passed = [ready[t] for t in op.outputs if t in ready]
        if passed:
            now = min(last, max(now, passed[0] + 1))
    return tuple(found)


def routes_of(graph: Graph, precisions: Sequence[Precision]) -> tuple[_Route, ...]:
    """Return the paths offered: constant ones, and one switch from the fewest bits to the most after each exit."""
    n_exits = len(graph.exits)
    routes = [_Route(name=p.name, precisions=(i,) * n_exits, switch_at=None) for i, p in enumerate(precisions)]
    names = [p.name for p in precisions]
    if "w4" not in names or not {"w8", "mix"} & set(names):
        return tuple(routes)
    few = names.index("w4")
    many = names.index("w8" if "w8" in names else "mix")
    place = segments(graph)
    for k in range(n_exits - 1):
        after = [i for i, op in enumerate(graph.ops) if place[i] > k and op.kind in WEIGHTED]
        if any(precisions[few].bits[i] != precisions[many].bits[i] for i in after if graph.ops[i].exit is None):
            chain = (few,) * (k + 1) + (many,) * (n_exits - k - 1)
            routes.append(_Route(name=f"{names[few]}>{names[many]}@{k}", precisions=chain, switch_at=k))
    return tuple(routes)


def bare_paths(graph: Graph, precisions: Sequence[Precision]) -> tuple[Path, ...]:
    """Return all paths uncalibrated: every confidence is 1 and only the last exit stops."""
    paths = []
    for route in routes_of(graph, precisions):
        flat = constant_path(graph, route.name, 0)
        paths.append(
            Path(
                name=route.name,
                precisions=route.precisions,
                confidence_q15=flat.confidence_q15,
                accuracy_q15=flat.accuracy_q15,
                auto_threshold_q15=flat.auto_threshold_q15,
            )
        )
    return tuple(paths)


def calibrated_paths(
    execute: Execute,
    attached: Attached,
    precisions: Sequence[Precision],
    storage: Mapping[int, str],
    feeds: Mapping[int, Array],
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[tuple[Path, ...], tuple[PathReport, ...]]:
    """Return every path with its tables, and what each does on the calibration set.

    Parameters
    ----------
    execute
        Runs probes.
    attached
        Graph with exits, their heads, labels and folds.
    precisions
        With corrected biases.
    storage
        By op index.
    feeds
        Calibration inputs ``(n, *shape[1:])`` by tensor index; at most 4096 samples are used.
    progress
        Called with (what, done, total).
    """
    graph = attached.graph
    if graph.exits[-1].n_classes < 2:
        return bare_paths(graph, precisions), ()
    n = min(MOST_SAMPLES, len(attached.labels))
    routes = routes_of(graph, precisions)
    runnable = [r for r in routes if all(precisions[p].name != "f32" for p in r.precisions)]
    seen: dict[str, list[tuple[I64, I64]]] = {}
    parts: dict[str, list[list[tuple[I64, I64]]]] = {r.name: [] for r in runnable}
    for start in range(0, n, _CHUNK):
        taken = slice(start, min(start + _CHUNK, n))
        chunk = {t: a[taken] for t, a in feeds.items()}
        answers = _run_chunk(execute, attached, precisions, storage, runnable, chunk)
        for route in runnable:
            parts[route.name].append(_judge(attached, precisions, route, answers[route.name], taken))
        if progress:
            progress("paths: confidence on the calibration set", taken.stop, n)
    for name, chunks in parts.items():
        seen[name] = [
            (np.concatenate([c[k][0] for c in chunks]), np.concatenate([c[k][1] for c in chunks]))
            for k in range(len(graph.exits))
        ]
    made = {r.name: _path(attached, r, seen[r.name], attached.labels[:n]) for r in runnable}
    return _all_paths(graph, routes, made)


def _all_paths(
    graph: Graph, routes: Sequence[_Route], made: Mapping[str, tuple[Path, PathReport]]
) -> tuple[tuple[Path, ...], tuple[PathReport, ...]]:
    paths = []
    for route in routes:
        if route.name in made:
            paths.append(made[route.name][0])
            continue
        # f32 answers as w8 does up to rounding: it borrows its tables where there are any.
        like = made["w8"][0] if "w8" in made else constant_path(graph, route.name, 0)
        paths.append(
            Path(
                name=route.name,
                precisions=route.precisions,
                confidence_q15=like.confidence_q15,
                accuracy_q15=like.accuracy_q15,
                auto_threshold_q15=like.auto_threshold_q15,
            )
        )
    return tuple(paths), tuple(report for _, report in made.values())


def _setting(graph: Graph, precisions: Sequence[Precision], storage: Mapping[int, str], route: _Route) -> Setting:
    bits, bias = {}, {}
    for index, segment in enumerate(segments(graph)):
        if graph.ops[index].kind not in WEIGHTED:
            continue
        precision = precisions[route.precisions[segment]]
        bits[index] = precision.bits[index]
        if index in precision.bias:
            bias[index] = precision.bias[index]
    return Setting(bits=bits, bias=bias, storage=storage)


def _run_chunk(
    execute: Execute,
    attached: Attached,
    precisions: Sequence[Precision],
    storage: Mapping[int, str],
    routes: Sequence[_Route],
    feeds: Mapping[int, Array],
) -> dict[str, dict[int, Array]]:
    """Return, by route, the tensors that decide: features of our heads, logits of the others."""
    graph = attached.graph
    wanted = _deciding(attached)
    place = segments(graph)
    live: dict[str, tuple[int, ...]] = {}
    for route in routes:
        if route.switch_at is not None:
            start = next(i for i, s in enumerate(place) if s > route.switch_at)
            points = live_at(graph, start, [t for t in wanted if _made_at(graph, t) >= start])
            live[route.name] = points if len(points) <= _MOST_LIVE else ()
    found: dict[str, dict[int, Array]] = {}
    for route in routes:
        how = _setting(graph, precisions, storage, route)
        if route.switch_at is None:
            # Prefixes of switched routes are those of the constant route with the same first precision.
            extra = {t for r in routes if r.precisions[0] == route.precisions[0] for t in live.get(r.name, ())}
            found[route.name] = probe(execute, graph, how, feeds, tuple(dict.fromkeys([*wanted, *sorted(extra)])))
            continue
        base = next(r.name for r in routes if r.switch_at is None and r.precisions[0] == route.precisions[0])
        points = live[route.name]
        known = {t: found[base][t] for t in points} if points else feeds
        before = {t: found[base][t] for t in wanted if place[_made_at(graph, t)] <= route.switch_at}
        rest = tuple(t for t in wanted if t not in before)
        found[route.name] = {**before, **probe(execute, graph, how, known, rest)}
    return found


def _made_at(graph: Graph, tensor: int) -> int:
    return next(index for index, op in enumerate(graph.ops) if tensor in op.outputs)


def _deciding(attached: Attached) -> tuple[int, ...]:
    found = []
    for exit, head in zip(attached.graph.exits, attached.heads, strict=True):
        found.append(exit.logits if head is None else head.features)
    return tuple(dict.fromkeys(found))


def _judge(
    attached: Attached,
    precisions: Sequence[Precision],
    route: _Route,
    values: Mapping[int, Array],
    taken: slice,
) -> list[tuple[I64, I64]]:
    """Return (margins, answers) of each exit on a chunk."""
    graph = attached.graph
    result = []
    for k, (exit, fitted) in enumerate(zip(graph.exits, attached.heads, strict=True)):
        if fitted is None:
            logits = values[exit.logits]
            result.append(margins(logits.reshape(len(logits), -1)))
            continue
        features = values[fitted.features].reshape(taken.stop - taken.start, -1)
        fold = attached.fold[taken]
        bias = precisions[route.precisions[k]].bias
        dense = next(i for i, op in enumerate(graph.ops) if _is_row(op, k, graph, exit.n_classes))
        answers = _without_fold(fitted.head, fitted.without_fold, features, fold, _shift(graph, dense, bias))
        margin, answer = margins(answers)
        if fitted.gate is not None:
            row = next(i for i, op in enumerate(graph.ops) if _is_row(op, k, graph, 1))
            gate = fitted.gate
            share = _without_fold(gate.row, gate.without_fold, features, fold, _shift(graph, row, bias))
            margin, _ = margins(gated(answers, share, fitted.head.logits.zero_point))
        result.append((margin, answer))
    return result


def _is_row(op: Op, exit: int, graph: Graph, width: int) -> bool:
    return op.exit == exit and op.kind is OpKind.FULLY_CONNECTED and graph.tensors[op.outputs[0]].elements == width


def _shift(graph: Graph, op: int, bias: Mapping[int, npt.NDArray[np.int32]]) -> I64:
    """Return what a precision adds to the biases of a layer [accumulator units]."""
    own = bias_of(graph, graph.ops[op]).astype(np.int64)
    return np.asarray(bias[op] - own if op in bias else np.zeros_like(own), np.int64)


def _without_fold(whole: IntHead, parts: Sequence[IntHead], features: Array, fold: I64, shift: I64) -> I64:
    """Return the answers ``(n, rows)`` of the layers that were fitted without each sample's fold."""
    ratios = (np.asarray(whole.scales) / np.asarray(part.scales) for part in parts)
    return answers_out_of_fold(parts, features, fold, [np.rint(shift * ratio) for ratio in ratios])


def _path(attached: Attached, route: _Route, seen: Sequence[tuple[I64, I64]], labels: I64) -> tuple[Path, PathReport]:
    graph = attached.graph
    # What a gate shuts out goes on.
    least = [int(head is not None and head.gate is not None) for head in attached.heads]
    least[-1] = 0
    correct = np.stack([answer == labels for _, answer in seen])
    bins = np.stack([margin_bins(margin) for margin, _ in seen])
    tables = tuple(confidence_table(margin, correct[k]) for k, (margin, _) in enumerate(seen))
    macs = exit_macs(graph)
    alone = max(1, exit_macs(graph, heads_on_the_way=False)[-1])
    costs = np.asarray(macs, np.float64) / alone
    stops = choose_stops(bins, correct.astype(np.float64), costs, float(correct[-1].mean()), least=least)
    thresholds = [threshold_q15(table, stop) for table, stop in zip(tables, stops.bins, strict=True)]
    thresholds[-1] = 0
    path = Path(
        name=route.name,
        precisions=route.precisions,
        confidence_q15=tables,
        accuracy_q15=tuple(accuracy_q15(c) for c in correct),
        auto_threshold_q15=tuple(min(t, Q15) for t in thresholds),
    )
    accuracies = tuple(float(c.mean()) for c in correct)
    errors = tuple(calibration_error(margin, correct[k]) for k, (margin, _) in enumerate(seen))
    return path, PathReport(
        name=route.name,
        accuracies=accuracies,
        calibration_errors=errors,
        stops=stops,
        shares=stop_shares(bins, stops.bins),
    )
