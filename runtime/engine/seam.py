# SPDX-License-Identifier: Apache-2.0
"""What every engine looks like from outside, whatever runs behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
Depth = int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """A border of a model: ``shape`` as in the model (first axis usually 1), ``dtype`` as the outside world sees it."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    scale: float
    zero_point: int

    @property
    def bytes(self) -> int:
        """Of one sample [bytes]."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InferResult:
    """Answers of a batch of n samples.

    ``outputs[i]`` is ``(n, *shape)`` without the model's own leading 1, in the model's dtype; an early exit answers in
    output 0 and leaves zeros in others. ``exit`` (n,) u8, ``confidence_q15`` (n,) u16, ``macs`` (n,) u64. ``cycles`` and
    ``instructions`` (n,) u64 are those of an engine that counts them, None elsewhere.
    """

    outputs: tuple[Array, ...]
    exit: npt.NDArray[np.uint8]
    confidence_q15: npt.NDArray[np.uint16]
    macs: npt.NDArray[np.uint64]
    cycles: npt.NDArray[np.uint64] | None = None
    instructions: npt.NDArray[np.uint64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitEvent:
    """An exit has been reached; ``macs``, ``cycles`` and ``instructions`` count from the start of the inference.

    The latter two are 0 for an engine that does not count them.
    """

    exit: int
    confidence_q15: int
    macs: int
    cycles: int = 0
    instructions: int = 0


class Engine(Protocol):
    """One model, ready to run. An engine belongs to one thread."""

    @property
    def inputs(self) -> tuple[TensorInfo, ...]: ...

    @property
    def outputs(self) -> tuple[TensorInfo, ...]: ...

    @property
    def exit_names(self) -> tuple[str, ...]: ...

    @property
    def path_names(self) -> tuple[str, ...]: ...

    @property
    def model_hash(self) -> str: ...

    def infer(self, inputs: Sequence[Array], *, path: int | str = 0, depth: Depth = "last") -> InferResult: ...


class SteppedEngine(Engine, Protocol):
    """An engine that returns at exits, so that a policy can decide there."""

    def start(self, inputs: Sequence[Array], path: int) -> None: ...

    def run_to_exit(self, exit: int) -> ExitEvent: ...

    def switch(self, path: int) -> None: ...

    def answer(self) -> Array: ...
