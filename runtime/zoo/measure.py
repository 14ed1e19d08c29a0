# SPDX-License-Identifier: Apache-2.0
"""What a container scores on a test split, at every exit of every path, and what each such point costs on a board."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.boards import Board
from joulet.container.read import Container
from joulet.engine.host import HostEngine
from joulet.errors import DataError
from joulet.plan.cost import board_costs, cost_table
from joulet.zoo.datasets import Split

FORMAT = "joulet zoo measured 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One operating point on one board: a path, where it stops, what that scores and costs.

    ``accuracy`` and ``balanced`` (the mean over classes of their shares of right answers) are measured, 0..1.
    ``cycles`` and ``energy_nj`` [nJ] are modelled by the board's file, means over the test split for ``auto``. ``front``
    says that no cheaper point on this board scores as much.
    """

    board: str
    path: str
    depth: str
    accuracy: float
    balanced: float
    cycles: float
    energy_nj: float
    front: bool = False


def measure(
    container: bytes, split: Split, *, progress: Callable[[str, int, int], None] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the scores of every integer path: ``exits`` in order, and ``auto`` with the shares of exits taken.

    Parameters
    ----------
    container
        The .jlt bytes.
    split
        What it is measured on; nothing of it may have been calibrated on.
    progress
        Called with (what, done, total).
    """
    engine = HostEngine(container)
    if split.x.shape[1:] != engine.inputs[0].shape[1:]:
        raise DataError(
            f"the data has shape {list(split.x.shape[1:])}, the model takes {list(engine.inputs[0].shape[1:])}"
        )
    found: dict[str, dict[str, Any]] = {}
    names = [name for name in engine.path_names if name != "f32"]
    for done, path in enumerate(names):
        exits = []
        for depth in range(len(engine.exit_names)):
            exits.append(_scores(engine.infer([split.x], path=path, depth=depth).outputs[0], split.y))
        answer = engine.infer([split.x], path=path, depth="auto")
        shares = np.bincount(answer.exit, minlength=len(engine.exit_names)) / len(split.y)
        auto = {**_scores(answer.outputs[0], split.y), "shares": [round(float(s), 6) for s in shares]}
        found[path] = {"exits": exits, "auto": auto}
        if progress:
            progress("zoo: operating points on the test split", done + 1, len(names))
    return found


def _scores(outputs: npt.NDArray[np.generic], y: npt.NDArray[np.int64]) -> dict[str, float]:
    right = outputs.reshape(len(y), -1).argmax(axis=1) == y
    recalls = [right[y == label].mean() for label in np.unique(y)]
    return {"accuracy": round(float(right.mean()), 6), "balanced": round(float(np.mean(recalls)), 6)}


def points(container: Container, measured: dict[str, Any], boards: Sequence[Board]) -> tuple[Point, ...]:
    """Return every operating point on every board, cheapest first on each.

    Raises
    ------
    DataError
        If the scores are of another container, or not what their format says.
    """
    paths = _checked(container, measured)
    found: list[Point] = []
    for board in boards:
        costs = cost_table(container, board_costs(container, board))
        here = []
        for index, path in enumerate(costs.path_names):
            if path not in paths:
                continue
            steps = costs.steps[index]
            walked = np.cumsum([_cycles(steps[k][k]) for k in range(len(costs.exit_names))])
            for k, scores in enumerate(paths[path]["exits"]):
                here.append((path, costs.exit_names[k], scores, float(_cycles(steps[0][k]))))
            auto = paths[path]["auto"]
            here.append((path, "auto", auto, float(np.dot(auto["shares"], walked))))
        here.sort(key=lambda one: one[3])
        best = -1.0
        for path, depth, scores, cycles in here:
            front = scores["accuracy"] > best
            best = max(best, scores["accuracy"])
            found.append(
                Point(
                    board=board.name,
                    path=path,
                    depth=depth,
                    accuracy=scores["accuracy"],
                    balanced=scores["balanced"],
                    cycles=cycles,
                    energy_nj=cycles * board.load.energy_pj_per_cycle * 1e-3,
                    front=front,
                )
            )
    return tuple(found)


def _cycles(step: Any) -> int:
    return int(step.cycles)


def _checked(container: Container, measured: dict[str, Any]) -> dict[str, Any]:
    if measured.get("format") != FORMAT:
        raise DataError(f"scores are of format {measured.get('format')!r}; this joulet reads '{FORMAT}'")
    if measured.get("model_hash") != container.model_hash.hex():
        raise DataError(
            f"scores were measured on container {str(measured.get('model_hash'))[:16]}, this one is "
            f"{container.model_hash.hex()[:16]}: measure it with joulet zoo get --from DIR"
        )
    paths = measured.get("paths")
    n_exits = len(container.exits)
    if not isinstance(paths, dict):
        raise DataError("scores hold no paths; measure again with joulet zoo get --from DIR")
    for name, entry in paths.items():
        try:
            rows = [*entry["exits"], entry["auto"]]
            whole = len(entry["exits"]) == n_exits == len(entry["auto"]["shares"])
            numbers = [float(row[key]) for row in rows for key in ("accuracy", "balanced")]
            numbers += [float(share) for share in entry["auto"]["shares"]]
        except (TypeError, KeyError, ValueError) as error:
            raise DataError(
                f"scores of path {name!r} are broken; measure again with joulet zoo get --from DIR"
            ) from error
        if not whole or not all(0.0 <= n <= 1.0 for n in numbers):
            raise DataError(f"scores of path {name!r} are broken; measure again with joulet zoo get --from DIR")
    return paths


def parse_measured(data: bytes, source: str) -> dict[str, Any]:
    """Return the table of a file of scores.

    Raises
    ------
    DataError
        If it is no JSON object.
    """
    try:
        table = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source}: is no JSON ({error}); measure again with joulet zoo get --from DIR") from error
    if not isinstance(table, dict):
        raise DataError(f"{source}: is no JSON object; measure again with joulet zoo get --from DIR")
    return table
