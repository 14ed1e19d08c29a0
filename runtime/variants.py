# SPDX-License-Identifier: Apache-2.0
"""The containers that a search over bits and exits chooses from, made from one model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from joulet.boards import Board
from joulet.compile import Progress, attached_exits, finished, integer_graph, layer_cycles
from joulet.exits.attach import Attached
from joulet.exits.imported import imported_exits
from joulet.exits.keep import choices_of_exits, kept_exits
from joulet.exits.paths import PathReport, bare_paths, calibrated_paths
from joulet.importers.load import load_model
from joulet.ir import Graph, Precision, QuantGraph
from joulet.passes.macs import macs
from joulet.plan.search import Candidate
from joulet.quant.bare import bare_quant_graph
from joulet.quant.bias import corrected
from joulet.quant.calibration import Calibration, load_calibration
from joulet.quant.nested import all_four, mix_within, sensitivities, storage_of
from joulet.quant.on_engine import execute_on_engine
from joulet.quant.probe import Execute

MIX_SHARES = (0.9, 0.8, 0.7, 0.6)
"""Budgets of the mixes that are tried, as shares of the cost at 8 bits; below the share at 4 bits there is none."""

_FEWER_CYCLES = 0.97  # at 4 bits: from where cycles are the cost that mixes save, and not bytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Variants:
    """One network with exits and precisions to choose from.

    Attributes
    ----------
    attached
        All exits, with what was fitted for them.
    bare
        The graph as it is.
    precisions
        With corrected biases where there is data.
    calibration
        None without data.
    macs_imported
        Before the exact passes.
    notes
        For people.
    """

    attached: Attached
    bare: QuantGraph
    precisions: tuple[Precision, ...]
    calibration: Calibration | None
    macs_imported: int
    notes: tuple[str, ...]
    execute: Execute

    def container(self, exits: Sequence[int], names: Sequence[str]) -> tuple[bytes, tuple[PathReport, ...]]:
        """Return the container with these exits and precisions, and what its paths do on the calibration data."""
        kept = kept_exits(self.attached, exits)
        graph = kept.attached.graph
        precisions = tuple(kept.precision(each) for each in self.precisions if each.name in names)
        storage = storage_of(graph, precisions)
        reports: tuple[PathReport, ...] = ()
        if self.calibration is None:
            paths = bare_paths(graph, precisions)
        else:
            paths, reports = calibrated_paths(self.execute, kept.attached, precisions, storage, self.calibration.feeds)
        quantised = replace(
            self.bare, graph=graph, precisions=precisions, storage=storage, paths=paths, notes=self.notes
        )
        made = finished(
            quantised, calibration=self.calibration, macs_imported=self.macs_imported, reports=reports, board=None
        )
        return made.container, reports

    def candidates(self) -> Iterator[Candidate]:
        """Yield one candidate a choice of exits and precision; precisions that differ behind the last exit alone are one."""
        for exits in choices_of_exits(self.attached.graph):
            kept = kept_exits(self.attached, exits)
            for precision in _distinct([kept.precision(each) for each in self.precisions]):
                yield self.candidate(exits, (precision.name,), precision.name)

    def candidate(self, exits: Sequence[int], names: Sequence[str], path: str) -> Candidate:
        """Return the container with these exits and precisions as a candidate that is judged by one of its paths."""
        data, reports = self.container(exits, names)
        place = [precision.name for precision in self.precisions if precision.name in names].index(path)
        return _candidate(data, place, reports, len(exits))


def _candidate(data: bytes, path: int, reports: Sequence[PathReport], n_exits: int) -> Candidate:
    to_the_last = (0.0,) * (n_exits - 1) + (1.0,)
    report = reports[path] if reports else None
    if report is None or report.stops is None:
        return Candidate(data=data, path=path, accuracy=None, shares=to_the_last)
    return Candidate(data=data, path=path, accuracy=report.stops.accuracy, shares=report.shares)


def variants_of(
    source: Path,
    board: Board,
    *,
    data: Path | None = None,
    exits: str | int = "auto",
    progress: Progress | None = None,
    seed: int = 0,
    execute: Execute = execute_on_engine,
) -> Variants:
    """Return what a model offers: exits, and precisions from eight bits to four with mixes between.

    Parameters
    ----------
    source
        A .tflite or .onnx file.
    board
        Whose cycles say what a mix saves where four bits take fewer of them; elsewhere it saves bytes.
    data
        Calibration data, as :func:`joulet.compile.compile_model` takes it. Without it there are no exits, and biases stay.
    exits, progress, seed, execute
        As :func:`joulet.compile.compile_model` has them.

    Raises
    ------
    JouletError
        For a model or data that cannot be taken.
    """
    imported = load_model(source)
    arrays = None if data is None else load_calibration(data)
    graph, calibration, notes = integer_graph(imported, arrays, seed, progress)
    graph = imported_exits(graph, scored=calibration is not None and calibration.labels is not None)
    if calibration is None:
        bare = bare_quant_graph(graph, ("w8", "w4", "mix"))
        return Variants(
            attached=Attached.untouched(bare.graph),
            bare=bare,
            precisions=_distinct(bare.precisions),
            calibration=None,
            macs_imported=sum(macs(imported)),
            notes=(
                *notes,
                "no calibration data: no exits, biases as imported, accuracies unknown; give --data CAL.npz",
            ),
            execute=execute,
        )
    attached = attached_exits(execute, graph, calibration, exits, progress)
    bare = bare_quant_graph(attached.graph, ("w8",))
    fewer = _mixes(execute, bare.graph, calibration, board, progress)
    fitted = tuple(
        corrected(execute, bare.graph, each, calibration.feeds, reference=attached.graph, progress=progress)
        for each in fewer
    )
    return Variants(
        attached=replace(attached, graph=bare.graph),
        bare=bare,
        precisions=(*bare.precisions, *fitted),
        calibration=calibration,
        macs_imported=sum(macs(imported)),
        notes=(*notes, *attached.notes),
        execute=execute,
    )


def _mixes(
    execute: Execute, graph: Graph, calibration: Calibration, board: Board, progress: Progress | None
) -> tuple[Precision, ...]:
    """Return four bits and the mixes, each once, none equal to eight bits throughout."""
    four = all_four(graph)
    cycles = layer_cycles(graph, board)
    sums = [sum(each[place] for each in cycles.values()) for place in (0, 1)]
    costs = cycles if sums[1] < _FEWER_CYCLES * sums[0] else None
    losses = sensitivities(execute, graph, calibration.feeds, progress=progress)
    tried = [
        mix_within(graph, losses, budget=share, costs=costs, name=f"mix{share:.0%}".rstrip("%")) for share in MIX_SHARES
    ]
    return tuple(each for each in _distinct((four, *tried)) if 4 in each.bits.values())


def _distinct(precisions: Sequence[Precision]) -> tuple[Precision, ...]:
    """Return precisions of different bits, of equal ones the first."""
    found: dict[tuple[tuple[int, int], ...], Precision] = {}
    for each in precisions:
        found.setdefault(tuple(sorted(each.bits.items())), each)
    return tuple(found.values())
