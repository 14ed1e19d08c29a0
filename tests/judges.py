# SPDX-License-Identifier: Apache-2.0
"""The judges of bytes: TensorFlow Lite Micro, and LiteRT's reference resolver where TFLM lacks an op or type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_ARENA_BYTES = 1 << 24  # its own guess, ten times the file, is too small for a model without weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """One model in a foreign interpreter; shapes are without the sample axis that :attr:`run` adds."""

    name: str
    inputs: tuple[tuple[tuple[int, ...], np.dtype], ...]
    run: Callable[[Sequence[np.ndarray]], list[np.ndarray]]


def tflm(model: bytes) -> Judge:
    """Return TensorFlow Lite Micro on ``model``; raises RuntimeError where it cannot take it."""
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(model, arena_size=_ARENA_BYTES)
    n_inputs, n_outputs = _borders(model)
    details = [interpreter.get_input_details(i) for i in range(n_inputs)]

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        rows: list[list[np.ndarray]] = [[] for _ in range(n_outputs)]
        for sample in range(len(arrays[0])):
            for index, array in enumerate(arrays):
                interpreter.set_input(np.ascontiguousarray(array[sample]), index)
            interpreter.invoke()
            for index, row in enumerate(rows):
                row.append(np.array(interpreter.get_output(index)))
        return [np.stack(row) for row in rows]

    inputs = tuple((tuple(int(d) for d in detail["shape"]), np.dtype(detail["dtype"])) for detail in details)
    judge = Judge(name="tflm", inputs=inputs, run=run)
    judge.run([np.zeros((1, *shape), dtype) for shape, dtype in inputs])  # some failures show only at the first run
    return judge


def litert(model: bytes) -> Judge:
    """Return LiteRT with its reference kernels on ``model``."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1
    )
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()
    outputs = interpreter.get_output_details()

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        rows: list[list[np.ndarray]] = [[] for _ in outputs]
        for sample in range(len(arrays[0])):
            for detail, array in zip(details, arrays, strict=True):
                interpreter.set_tensor(detail["index"], array[sample])
            interpreter.invoke()
            for detail, row in zip(outputs, rows, strict=True):
                row.append(np.array(interpreter.get_tensor(detail["index"])))
        return [np.stack(row) for row in rows]

    inputs = tuple((tuple(int(d) for d in detail["shape"]), np.dtype(detail["dtype"])) for detail in details)
    return Judge(name="litert-ref", inputs=inputs, run=run)


def judge_for(path: Path) -> Judge:
    """Return TFLM where it takes the model, else LiteRT's reference resolver."""
    model = path.read_bytes()
    try:
        return tflm(model)
    except (RuntimeError, ValueError):
        return litert(model)


def _borders(model: bytes) -> tuple[int, int]:
    import tflite

    graph = tflite.Model.GetRootAs(model).Subgraphs(0)
    return graph.InputsLength(), graph.OutputsLength()
