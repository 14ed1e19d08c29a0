# SPDX-License-Identifier: Apache-2.0
"""Times on this machine: against LiteRT in the same process, per op, and the core's peak of int8 products."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from joulet._core import ffi, lib
from joulet.container import layout
from joulet.engine.host import HostEngine
from joulet.engine.seam import Array, TensorInfo
from joulet.errors import DataError, UsageError

ROUNDS = 100
SLICE_S = 5e-4
_PEAK_ROUNDS = 20_000


def against_litert(engine: HostEngine, tflite: Path, paths: list[str], inputs: list[Array]) -> dict[str, Any]:
    """Time one inference to the last exit on both engines, one thread each, in turns.

    Times are the calling thread's on the core (``time.thread_time``), so that other work on the machine does not count. Both are
    without what a call from Python costs, which is measured beside them on calls that do nothing.

    Parameters
    ----------
    engine
        The container's engine.
    tflite
        The model that the container was compiled from.
    paths
        Paths to time.
    inputs : list of ndarray
        Samples; the first one runs.

    Returns
    -------
    dict
        ``litert_s`` and ``call_s``, what a call from Python costs each engine beside its work, and ``rows``: path,
        ``time_s`` (median over rounds of a slice's mean), ``least_s``, ``ratio_to_litert``, ``ratio_from_python`` with the calls,
        ``gmac_per_s``.
    """
    interpreter = _interpreter(tflite, engine.inputs, inputs)
    runs: dict[str, Callable[[], object]] = {"litert": interpreter.Invoke}
    macs, kept = {}, []
    for path in paths:
        one = [np.ascontiguousarray(array[:1]) for array in inputs]
        bound = engine.bind(one, engine.new_outputs(1), path=path)
        bound()
        kept.append(bound)  # its arrays must outlive the calls
        runs[path] = bound.direct
        macs[path] = int(bound.macs[0])
    times = _in_turns(runs)
    empty = _in_turns({"joulet": lib.jlt_host_best_isa, "litert": interpreter.ResetVariableTensors})
    call_s = {name: statistics.median(each) for name, each in empty.items()}
    litert_s = statistics.median(times["litert"])
    rows = []
    for path in paths:
        median_s = statistics.median(times[path])
        time_s = median_s - call_s["joulet"]
        rows.append(
            {
                "path": path,
                "time_s": time_s,
                "least_s": min(times[path]) - call_s["joulet"],
                "ratio_to_litert": time_s / (litert_s - call_s["litert"]),
                "ratio_from_python": median_s / litert_s,
                "gmac_per_s": macs[path] / time_s * 1e-9,
            }
        )
    return {
        "litert_s": litert_s - call_s["litert"],
        "litert_least_s": min(times["litert"]) - call_s["litert"],
        "call_s": call_s,
        "rows": rows,
    }


def _interpreter(tflite: Path, borders: tuple[TensorInfo, ...], inputs: list[Array]) -> Any:
    """Return LiteRT's compiled interpreter, one thread, with the first sample in it."""
    from joulet.engine.litert import LiteRTEngine

    if not tflite.is_file():
        raise UsageError(f"cannot read '{tflite}': no such file; --tflite names the model that was compiled")
    theirs = LiteRTEngine(tflite)
    if len(theirs.inputs) != len(borders):
        raise DataError(f"'{tflite}' has {len(theirs.inputs)} inputs, the container {len(borders)}: another model")
    for index, info, array in zip(theirs._in, theirs.inputs, inputs, strict=True):
        if array[0].size != int(np.prod(info.shape)):
            raise DataError(
                f"'{tflite}': input {info.name} is {info.shape}, the container's has {array[0].size} elements"
            )
        theirs._interpreter.set_tensor(index, array[0].astype(info.dtype).reshape(info.shape))
    theirs._interpreter.invoke()
    return theirs._interpreter._interpreter


def _in_turns(runs: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Return seconds a call for each of many rounds, in which every run has its slice."""
    repeats = {}
    for name, run in runs.items():
        started = time.thread_time()
        run()
        repeats[name] = max(1, int(SLICE_S / max(time.thread_time() - started, 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            started = time.thread_time()
            for _ in range(repeats[name]):
                run()
            times[name].append((time.thread_time() - started) / repeats[name])
    return times


def peak_gmac_per_s(isa: str) -> float | None:
    """Return the most int8 multiply-accumulates a second that one core reached, or None without SIMD kernels."""
    code = layout.CODES["Isa"][isa]
    if not lib.jlt_host_runs(code) or lib.jlt_host_peak(code, 1) == 0:
        return None
    rates = []
    for _ in range(9):
        started = time.thread_time()
        macs = int(lib.jlt_host_peak(code, _PEAK_ROUNDS))
        rates.append(macs / (time.thread_time() - started) * 1e-9)
    return max(rates)


def op_rows(engine: HostEngine, path: str, repeats: int = 300) -> list[dict[str, Any]]:
    """Return each op on the way to the last exit: number, code, MACs, least time of many and MACs a second."""
    names = {code: name for name, code in layout.CODES["OpCode"].items()}
    least = ffi.new("uint64_t[]", len(engine.container.ops))
    status = lib.jlt_host_profile(engine._engine, engine.path_index(path), len(engine.exit_names) - 1, repeats, least)
    if status:
        raise UsageError(f"path {path} does not run here (status {status})")
    rows = []
    for index, op in enumerate(engine.container.ops):
        if least[index] > 0:
            seconds, macs = least[index] * 1e-9, int(op["macs"])
            rows.append(
                {
                    "op": index,
                    "code": names[int(op["code"])],
                    "macs": macs,
                    "time_s": seconds,
                    "gmac_per_s": macs / seconds * 1e-9,
                }
            )
    return rows
