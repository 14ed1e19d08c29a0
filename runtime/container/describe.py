# SPDX-License-Identifier: Apache-2.0
"""A container as plain values: what ``joulet inspect`` shows and prints as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from joulet.container import layout
from joulet.container.read import Container

Json = dict[str, Any]
_OPS = {code: name.lower() for name, code in layout.CODES["OpCode"].items()}
_ONE_Q15 = 32767


def describe(container: Container) -> Json:
    """Return a JSON-able description.

    ``layers`` has one entry an op; ``bits`` one number a precision (None for an op without weights). MACs of a path
    are those from the start to the exit, with the heads of other exits skipped.
    """
    return {
        "name": str(container.meta.get("name", "")),
        "format": ".".join(str(number) for number in container.table.version),
        "bytes": len(container.data),
        "model_hash": container.model_hash.hex(),
        "sections": [
            {"name": s.name, "part": s.part, "bytes": s.size_bytes, "present": s.present, "offset": s.offset}
            for s in container.sections
        ],
        "inputs": [_tensor(container, int(i)) for i in container.model["inputs"][: int(container.model["n_inputs"])]],
        "outputs": [
            _tensor(container, int(i)) for i in container.model["outputs"][: int(container.model["n_outputs"])]
        ],
        "precisions": list(container.precision_names),
        "layers": [_layer(container, index) for index in range(len(container.ops))],
        "exits": [_exit(container, index) for index in range(len(container.exits))],
        "paths": [_path(container, index) for index in range(len(container.paths))],
        "arena": {name: int(container.arena[name]) for name in ("tensor_bytes", "scratch_bytes", "scratch_f32_bytes")},
        "boards": [
            {
                "name": board.name,
                "clock_hz": board.clock_hz,
                "energy_pj_per_cycle": board.energy_pj_per_cycle,
                "cycles_of_path_0": int(_cycles_to_last(container, np.asarray(board.cycles, np.int64))),
            }
            for board in container.boards
        ],
        "nvm_plans": [
            {
                "board": plan.board,
                "strategy": plan.strategy,
                "commit_cycles": plan.commit_cycles,
                "warn_v": plan.warn_mv / 1000,
                "interval_ops": plan.interval_ops,
                "copies": plan.copies,
                "total_bytes": plan.total_bytes,
                "tensors_kept": sum(offset is not None for offset in plan.offsets),
            }
            for plan in container.nvm_plans
        ],
        "labels": container.meta.get("labels"),
        "notes": [str(note) for note in container.meta.get("notes", ())],
    }


def _name(container: Container, kind: str, index: int) -> str:
    entries = container.meta.get(kind, ())
    if not isinstance(entries, list) or index >= len(entries):
        return f"{kind[:-1]} {index}"
    entry = entries[index]
    return str(entry.get("name", "")) if isinstance(entry, dict) else str(entry)


def _shape(record: np.void) -> list[int]:
    return [int(extent) for extent in record["dims"][: int(record["rank"])]]


def _tensor(container: Container, index: int) -> Json:
    record = container.tensors[index]
    names = {code: name.lower() for name, code in layout.CODES["DType"].items()}
    u8 = int(record["flags"]) & layout.CODES["TensorFlag"]["BORDER_U8"]
    return {
        "name": _name(container, "tensors", index),
        "shape": _shape(record),
        "dtype": "u8" if u8 else names.get(int(record["dtype"]), "?"),
        "scale": float(record["scale"]),
        "zero_point": int(record["zero_point"]) + (128 if u8 else 0),
    }


def _layer(container: Container, index: int) -> Json:
    op = container.ops[index]
    weight = int(op["weight"])
    content: Json = {
        "name": _name(container, "ops", index),
        "kind": _OPS.get(int(op["code"]), "?"),
        "exit": None if int(op["exit"]) == layout.BACKBONE else _name(container, "exits", int(op["exit"])),
        "shape": _shape(container.tensors[int(op["output"])]),
        "macs": int(op["macs"]),
        "weight_bytes": 0,
        "storage": None,
        "bits": None,
    }
    if weight != layout.NO_INDEX:
        record = container.weights[weight]
        count = len(container.weights)
        content["weight_bytes"] = int(record["rows"]) * int(record["row_elements"])
        nested = int(record["storage"]) == layout.CODES["Storage"]["NESTED"]
        content["storage"] = "nested" if nested else "s8"
        content["bits"] = [
            int(container.layers[precision * count + weight]["bits"]) for precision in range(len(container.precisions))
        ]
    return content


def _exit(container: Container, index: int) -> Json:
    record = container.exits[index]
    flags = int(record["flags"])
    codes = layout.CODES["ExitFlag"]
    origin = "imported" if flags & codes["IMPORTED"] else "refit" if flags & codes["REFIT"] else "attached"
    return {
        "name": _name(container, "exits", index),
        "origin": origin,
        "classes": int(record["n_classes"]),
        "last_layer": _name(container, "ops", int(record["last_op"])),
    }


def runs_before(container: Container, exit_index: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which ops run to reach an exit, ``(n_ops,)``."""
    ops = container.ops
    order = np.arange(len(ops))
    mine = (ops["exit"] == layout.BACKBONE) | (ops["exit"] == exit_index)
    result: np.ndarray[Any, np.dtype[np.bool_]] = mine & (order <= int(container.exits[exit_index]["last_op"]))
    return result


def _path(container: Container, index: int) -> Json:
    path = container.paths[index]
    macs = container.ops["macs"].astype(np.int64)
    points = []
    for number in range(len(container.exits)):
        accuracy = int(path["accuracy_q15"][number])
        points.append(
            {
                "exit": _name(container, "exits", number),
                "macs": int(macs[runs_before(container, number)].sum()),
                "accuracy": None if accuracy >= _ONE_Q15 else accuracy / 32768,
                "calibration_error": _calibration_error(container, _name(container, "paths", index), number),
                "auto_threshold": int(path["auto_threshold_q15"][number]) / 32768,
            }
        )
    names = container.precision_names
    return {
        "name": _name(container, "paths", index),
        "precisions": [names[int(path["precisions"][number])] for number in range(len(container.exits))],
        "points": points,
    }


def _calibration_error(container: Container, path: str, exit: int) -> float | None:
    """Return the expected calibration error of an exit's confidence, or None where the container does not tell."""
    table = container.meta.get("calibration_errors")
    errors = table.get(path) if isinstance(table, dict) else None
    error = errors[exit] if isinstance(errors, list) and exit < len(errors) else None
    return float(error) if isinstance(error, (int, float)) and not isinstance(error, bool) else None


def _cycles_to_last(container: Container, cycles: np.ndarray[Any, np.dtype[np.int64]]) -> int:
    run = runs_before(container, len(container.exits) - 1)
    precision = container.paths[0]["precisions"][container.ops["segment"]]
    return int(cycles[precision, np.arange(len(container.ops))][run].sum())
