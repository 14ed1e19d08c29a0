# SPDX-License-Identifier: Apache-2.0
"""From a trained model to an adaptive container: import, exact passes, exits, nested precisions, tables, plan, write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from joulet.boards import Board, load_board
from joulet.container.layout import MAX_EXITS
from joulet.container.read import Container
from joulet.container.write import JsonValue, write_container
from joulet.errors import UsageError
from joulet.exits.attach import Attached, as_classifier, attach_exits, wanted_exits
from joulet.exits.cost import exit_macs
from joulet.exits.imported import imported_exits
from joulet.exits.paths import PathReport, calibrated_paths
from joulet.importers.load import load_model
from joulet.ir import DType, Graph, Precision, QuantGraph
from joulet.passes.macs import macs
from joulet.passes.pipeline import exact_passes
from joulet.plan.cost import board_costs
from joulet.plan.lower import lower
from joulet.plan.packings import SPARSE_PACKERS
from joulet.plan.packings.sparse import ELEMENTS
from joulet.plan.sparse_costs import sparse_costs
from joulet.quant.bare import bare_quant_graph, check_integer, with_exit
from joulet.quant.bias import corrected
from joulet.quant.block_order import BlockShape
from joulet.quant.calibration import Calibration, check_calibration, load_calibration
from joulet.quant.nested import MIX_BUDGET, all_four, search_mix, storage_of, weight_bytes
from joulet.quant.on_engine import execute_on_engine
from joulet.quant.probe import Array, Execute
from joulet.quant.pruning import Pruned, prunable, pruned
from joulet.quant.recover import MODES, recovered

Progress = Callable[[str, int, int], None]
DEFAULT_PRECISIONS = ("w8", "w4", "mix")
MOST_SAMPLES = 4096
"""Calibration samples used; more are thinned at random by ``seed``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitSummary:
    """One exit: where it comes from, and the MACs of an inference that only evaluates this head."""

    name: str
    origin: str
    macs: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionSummary:
    """One precision: weight bytes an inference reads [bytes], and the mean bits of a weight."""

    name: str
    weight_bytes: int
    mean_bits: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PathSummary:
    """One path on the calibration set: accuracy and calibration error at each exit, and what ``--depth auto`` gives."""

    name: str
    accuracies: tuple[float, ...]
    calibration_errors: tuple[float, ...]
    auto_accuracy: float
    auto_macs_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileReport:
    """What a compilation did. MACs are of the imported model before and after the exact passes."""

    name: str
    model_hash: str
    container_bytes: int
    macs_imported: int
    macs: int
    calibration_samples: int
    labels: str
    exits: tuple[ExitSummary, ...]
    precisions: tuple[PrecisionSummary, ...]
    paths: tuple[PathSummary, ...]
    board: str | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CompileResult:
    """A container's bytes and the report on it."""

    container: bytes
    report: CompileReport


def compile_model(
    source: Path | str | bytes,
    *,
    data: Path | str | Mapping[str, Array] | None = None,
    exits: str | int = "auto",
    precisions: tuple[str, ...] = DEFAULT_PRECISIONS,
    board: str | None = None,
    recover: str = "exact",
    mix_bytes: float | None = None,
    mix_cycles: float | None = None,
    sparse: float | None = None,
    progress: Progress | None = None,
    seed: int = 0,
    execute: Execute = execute_on_engine,
    name: str | None = None,
) -> CompileResult:
    """Turn a .tflite or .onnx model into an adaptive container.

    Parameters
    ----------
    source
        A .tflite or .onnx file, or its bytes.
    data
        Calibration data: an .npz file or a mapping with ``input_0`` … ``(n, *shape[1:])``, optional ``labels`` ``(n,)``
        and optional ``groups`` ``(n,)``, who or what was recorded. Without data ``w4`` and ``mix`` are bare, no exits
        are attached, and float models are refused.
    exits
        ``auto`` (up to three and a re-fitted last head), a number, or ``off``.
    precisions
        Out of ``w8``, ``w4``, ``mix``, ``f32``; one constant path each, and switches from ``w4`` to ``w8`` at exits.
    board
        A board whose cost table is added as a plan part.
    recover
        ``exact`` keeps ``w8`` the imported model to the byte and corrects the biases of fewer bits; ``trade`` also rounds
        the high nibbles anew for four bits, and moves ``w8`` a little. Layers shared by several ops stay as they are.
    mix_bytes
        Weight bytes of ``mix`` as a share of those of ``w8``, above 0.5 up to 1; 0.7 by default.
    mix_cycles
        Cycles of the layers of ``mix`` as a share of those of ``w8``, on ``board``; instead of ``mix_bytes``.
    sparse
        Share of answers that may change, above 0 and below 1: blocks of weights are taken out of convolutions where that saves
        cycles on ``board``, as many as keep within it on calibration samples set apart. Such layers have 8 bits at every precision.
    progress
        Called with (what, done, total).
    seed
        Of the draw of calibration samples where there are more than 4,096.
    execute
        Runs probes; the C engine of this machine by default.
    name
        Of the model; the file's stem where it is None.

    Raises
    ------
    JouletError
        For a model, data or combination of options that cannot be taken; the message names the remedy.
    """
    wanted = wanted_exits(exits)
    _check_recovery(recover, mix_bytes, mix_cycles, data is not None, board)
    _check_sparse(sparse, recover, has_data=data is not None, board=board)
    chosen_board = load_board(board) if board is not None else None
    imported = load_model(Path(source) if isinstance(source, str) else source, name=name)
    arrays = load_calibration(Path(data)) if isinstance(data, (str, Path)) else data
    graph, calibration, notes = integer_graph(imported, arrays, seed, progress)
    macs_imported = sum(macs(imported))
    eight: frozenset[str] = frozenset()
    graph = imported_exits(graph, scored=calibration is not None and calibration.labels is not None)
    if sparse is not None:
        assert calibration is not None
        assert chosen_board is not None
        less = _without_blocks(execute, graph, calibration, chosen_board, sparse, progress)
        graph, notes = less.graph, (*notes, less.note(sparse))
        eight = frozenset(graph.tensors[graph.ops[index].inputs[1]].name for index in less.absent)
    if calibration is None:
        if wanted:
            raise UsageError(f"exits {exits!r} need calibration data; give --data CAL.npz or --exits off")
        notes += _bare_notes(exits, precisions)
        quantised = bare_quant_graph(graph, precisions)
        attached = Attached.untouched(quantised.graph)
        reports: tuple[PathReport, ...] = ()
    else:
        plan = _Recovery(mode=recover, mix_bytes=mix_bytes, mix_cycles=mix_cycles, board=chosen_board, eight=eight)
        attached, quantised, reports = _calibrated(execute, graph, calibration, exits, precisions, plan, progress)
        notes += attached.notes
    return finished(
        replace(quantised, notes=(*quantised.notes, *notes)),
        calibration=calibration,
        macs_imported=macs_imported,
        reports=reports,
        board=chosen_board,
    )


def finished(
    quantised: QuantGraph,
    *,
    calibration: Calibration | None,
    macs_imported: int,
    reports: tuple[PathReport, ...],
    board: Board | None,
) -> CompileResult:
    """Write a quantised graph as a container and report on it; a board adds its plan part."""
    meta: dict[str, JsonValue] = {"calibration_samples": calibration.samples if calibration else 0}
    if reports:
        meta["calibration_errors"] = {r.name: [round(e, 4) for e in r.calibration_errors] for r in reports}
    content = write_container(quantised, meta=meta)
    if board is not None:
        costs = board_costs(Container.from_bytes(content), board)
        content = write_container(quantised, meta=meta, boards=(costs,))
    labels = "none" if calibration is None else ("data" if calibration.labels is not None else "own answers")
    report = CompileReport(
        name=quantised.graph.name,
        model_hash=Container.from_bytes(content).model_hash.hex(),
        container_bytes=len(content),
        macs_imported=macs_imported,
        macs=exit_macs(quantised.graph, heads_on_the_way=False)[-1],
        calibration_samples=calibration.samples if calibration else 0,
        labels=labels,
        exits=_exit_summaries(quantised.graph),
        precisions=tuple(_precision_summary(quantised.graph, p) for p in quantised.precisions),
        paths=tuple(_path_summary(r) for r in reports),
        board=board.name if board else None,
        notes=quantised.notes,
    )
    return CompileResult(container=content, report=report)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recovery:
    """How fewer bits are made good: the mode, the budget of ``mix``, and by name the weights that keep 8 bits whatever it finds."""

    mode: str
    mix_bytes: float | None
    mix_cycles: float | None
    board: Board | None
    eight: frozenset[str]

    def kept(self, graph: Graph, precision: Precision) -> Precision:
        """Return a precision at which those weights have 8 bits."""
        keep = {i for i in precision.bits if graph.tensors[graph.ops[i].inputs[1]].name in self.eight}
        return replace(precision, bits={i: 8 if i in keep else bits for i, bits in precision.bits.items()})


def _check_sparse(sparse: float | None, recover: str, *, has_data: bool, board: str | None) -> None:
    if sparse is None:
        return
    if not 0 < sparse < 1:
        raise UsageError(f"sparse {sparse:.0%}: give the share of answers that may change, above 0 and below 100 %")
    if not has_data:
        raise UsageError("sparse weights are chosen on calibration data; give --data CAL.npz")
    if board is None:
        raise UsageError("sparse weights pay on some boards and not on others; name one with --board")
    if recover == "trade":
        raise UsageError("sparse and recover 'trade' both choose weights anew; give one of them")


def _check_recovery(
    recover: str, mix_bytes: float | None, mix_cycles: float | None, has_data: bool, board: str | None
) -> None:
    if recover not in MODES:
        raise UsageError(f"recover {recover!r}: give one of {', '.join(MODES)}")
    if recover == "trade" and not has_data:
        raise UsageError("recover 'trade' rounds weights by calibration data; give --data CAL.npz")
    if mix_bytes is not None and mix_cycles is not None:
        raise UsageError("mix has one budget: give either --mix-bytes or --mix-cycles")
    if mix_bytes is not None and not 0.5 < mix_bytes <= 1:
        raise UsageError(f"mix bytes {mix_bytes:.0%}: give a share of the bytes of w8 above 50 % and up to 100 %")
    if mix_cycles is not None and not 0 < mix_cycles <= 1:
        raise UsageError(f"mix cycles {mix_cycles:.0%}: give a share of the cycles of w8 above 0 and up to 100 %")
    if mix_cycles is not None and board is None:
        raise UsageError("mix cycles are those of a board; name it with --board")
    if (mix_bytes is not None or mix_cycles is not None) and not has_data:
        raise UsageError("a budget of mix is searched on calibration data; give --data CAL.npz")


def integer_graph(
    imported: Graph, arrays: Mapping[str, Array] | None, seed: int, progress: Progress | None
) -> tuple[Graph, Calibration | None, tuple[str, ...]]:
    """Return the integer graph after the exact passes, the checked data, and notes."""
    notes = tuple(line for line in imported.source.get("notes", "").split("\n") if line)
    calibration = None
    if arrays is not None:
        calibration = check_calibration(imported, arrays, most=MOST_SAMPLES, seed=seed)
    if _is_float(imported):
        if calibration is None:
            raise UsageError(
                f"model {imported.name!r} is float; give --data CAL.npz so that it can be quantised to int8"
            )
        from joulet.quant.ptq import quantise_float  # only float models pay for this import

        graph, feeds, remark = quantise_float(imported, calibration.feeds, progress=progress)
        calibration = replace(calibration, feeds=feeds)
        smaller = exact_passes(graph)
        return smaller, _moved(graph, smaller, calibration), (*notes, *remark)
    check_integer(imported)
    graph = exact_passes(imported)
    return graph, _moved(imported, graph, calibration), notes


def _is_float(graph: Graph) -> bool:
    quantised = any(t.dtype is DType.S8 for t in graph.tensors)
    return not quantised and any(t.dtype is DType.F32 for t in graph.tensors)


def _moved(before: Graph, after: Graph, calibration: Calibration | None) -> Calibration | None:
    """Return the calibration by the tensor indices of the graph after the passes."""
    if calibration is None:
        return None
    feeds = {new: calibration.feeds[old] for old, new in zip(before.inputs, after.inputs, strict=True)}
    return replace(calibration, feeds=feeds)


def _bare_notes(exits: str | int, precisions: tuple[str, ...]) -> tuple[str, ...]:
    notes = []
    if {"w4", "mix"} & set(precisions):
        notes.append("no calibration data: w4 and mix are bare (no bias correction, bits by rule); give --data CAL.npz")
    if exits == "auto":
        notes.append("no calibration data: no exits attached and every confidence is 1; give --data CAL.npz")
    return tuple(notes)


def attached_exits(
    execute: Execute, graph: Graph, calibration: Calibration, exits: str | int, progress: Progress | None
) -> Attached:
    """Return an integer graph with the exits asked for, fitted on calibration data.

    Raises
    ------
    UsageError
        For more exits than a container holds, or than the model allows.
    """
    labels, groups = calibration.labels, calibration.groups
    attached = attach_exits(execute, graph, calibration.feeds, labels, groups=groups, exits=exits, progress=progress)
    if len(attached.graph.exits) > MAX_EXITS:
        raise UsageError(
            f"exits {exits!r}: a container holds at most {MAX_EXITS}, the re-fitted and imported one included"
        )
    return attached


def _calibrated(
    execute: Execute,
    graph: Graph,
    calibration: Calibration,
    exits: str | int,
    names: tuple[str, ...],
    recovery: _Recovery,
    progress: Progress | None,
) -> tuple[Attached, QuantGraph, tuple[PathReport, ...]]:
    feeds = calibration.feeds
    attached = attached_exits(execute, graph, calibration, exits, progress)
    imported = attached.graph
    mix = _searched_mix(execute, imported, feeds, recovery, progress) if "mix" in names else None
    if recovery.mode == "trade" and {"w4", "mix"} & set(names):
        traded = recovered(execute, imported, feeds, mix=mix.bits if mix else None, progress=progress)
        attached = replace(attached, graph=traded.graph, notes=(*attached.notes, traded.note()))
    # The bare form checks names, and has the float weights of f32.
    bare = bare_quant_graph(attached.graph, names)
    fewer = {"w4": all_four(bare.graph)}
    if mix is not None:
        fewer["mix"] = mix
    fewer = {name: recovery.kept(bare.graph, precision) for name, precision in fewer.items()}
    precisions = tuple(
        corrected(execute, bare.graph, fewer[p.name], feeds, reference=imported, progress=progress)
        if p.name in fewer
        else p
        for p in bare.precisions
    )
    storage = storage_of(attached.graph, precisions)
    paths, reports = calibrated_paths(execute, attached, precisions, storage, feeds, progress=progress)
    quantised = replace(bare, precisions=precisions, storage=storage, paths=paths)
    return attached, quantised, reports


def _without_blocks(
    execute: Execute, graph: Graph, calibration: Calibration, board: Board, limit: float, progress: Progress | None
) -> Pruned:
    """Take blocks of weights out where the board's cycle model says that it pays."""
    graph = with_exit(graph)
    if calibration.labels is not None:
        graph = as_classifier(graph)
    source = bare_quant_graph(graph, ("w8",))
    lowered = lower(source)
    by_place = sparse_costs(Container.from_bytes(write_container(source)), board)
    costs = {
        lowered.weights[step.weight].op: by_place[place]
        for place, step in enumerate(lowered.steps)
        if step.weight is not None and place in by_place
    }
    if not costs:
        raise UsageError(f"sparse: no layer of this model has a kernel on {board.name} that skips absent blocks")
    shape = BlockShape(rows=SPARSE_PACKERS[board.isa].rows, elements=ELEMENTS)
    layers = [index for index in prunable(graph, shape) if index in costs]
    return pruned(
        execute,
        graph,
        calibration.feeds,
        shape=shape,
        cycles_of=lambda index, absent: costs[index].cycles(absent),
        layers=layers,
        limit=limit,
        progress=progress,
    )


def _searched_mix(
    execute: Execute, graph: Graph, feeds: Mapping[int, Array], recovery: _Recovery, progress: Progress | None
) -> Precision:
    budget = recovery.mix_cycles or recovery.mix_bytes or MIX_BUDGET
    costs = layer_cycles(graph, recovery.board) if recovery.mix_cycles and recovery.board else None
    return search_mix(execute, graph, feeds, budget=budget, costs=costs, progress=progress).precision


def layer_cycles(graph: Graph, board: Board) -> dict[int, tuple[float, float]]:
    """Return the cycles of each layer at 8 and at 4 bits on a board, by op index of an integer graph."""
    source = bare_quant_graph(graph, ("w8", "w4"))
    cycles = board_costs(Container.from_bytes(write_container(source)), board).cycles
    lowered = lower(source)
    found = {}
    for place, step in enumerate(lowered.steps):
        if step.weight is not None:
            found[lowered.weights[step.weight].op] = (float(cycles[0, place]), float(cycles[1, place]))
    return found


def _exit_summaries(graph: Graph) -> tuple[ExitSummary, ...]:
    spent = exit_macs(graph, heads_on_the_way=False)
    return tuple(
        ExitSummary(name=e.name, origin=e.origin.value, macs=m, share=m / max(1, spent[-1]))
        for e, m in zip(graph.exits, spent, strict=True)
    )


def _precision_summary(graph: Graph, precision: Precision) -> PrecisionSummary:
    total = sum(weight_bytes(graph, graph.ops[i], bits) for i, bits in precision.bits.items())
    elements = sum(graph.tensors[graph.ops[i].inputs[1]].elements for i in precision.bits)
    return PrecisionSummary(name=precision.name, weight_bytes=total, mean_bits=8 * total / max(1, elements))


def _path_summary(report: PathReport) -> PathSummary:
    stops = report.stops
    return PathSummary(
        name=report.name,
        accuracies=report.accuracies,
        calibration_errors=report.calibration_errors,
        auto_accuracy=stops.accuracy if stops else report.accuracies[-1],
        auto_macs_share=stops.mean_macs if stops else 1.0,
    )
