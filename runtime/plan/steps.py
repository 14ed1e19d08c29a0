# SPDX-License-Identifier: Apache-2.0
"""What lowering returns: flat steps over numbered tensors, one record class for each parameter record of a container.

The field names and their order are those of the container records; a test compares the two. Arrays of six extents
are padded with leading ones, strides with leading zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulet.ir import DType, ExitOrigin, QuantGraph

MAX_RANK = 6
FLOAT_MAX = float(np.finfo(np.float32).max)

Six = tuple[int, int, int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvParams:
    """CONV, DWCONV, FC."""

    n: int
    in_h: int
    in_w: int
    in_c: int
    out_h: int
    out_w: int
    out_c: int
    k_h: int
    k_w: int
    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    pad_top: int
    pad_left: int
    groups: int
    in_zero_point: int
    out_zero_point: int
    act_min: int
    act_max: int
    f32_min: float
    f32_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolParams:
    """AVGPOOL, MAXPOOL."""

    n: int
    in_h: int
    in_w: int
    c: int
    out_h: int
    out_w: int
    k_h: int
    k_w: int
    stride_h: int
    stride_w: int
    pad_top: int
    pad_left: int
    act_min: int
    act_max: int
    f32_min: float
    f32_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanParams:
    """MEAN."""

    dims: Six
    reduced: Six
    count: int
    in_zero_point: int
    out_zero_point: int
    multiplier: int
    shift: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BinaryParams:
    """ADD, SUB, MUL."""

    dims: Six
    stride_a: Six
    stride_b: Six
    a_zero_point: int
    b_zero_point: int
    out_zero_point: int
    left_shift: int
    a_multiplier: int
    a_shift: int
    b_multiplier: int
    b_shift: int
    out_multiplier: int
    out_shift: int
    act_min: int
    act_max: int
    f32_min: float
    f32_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyParams:
    """COPY."""

    dims: Six
    in_stride: Six
    out_stride: Six
    in_offset: int
    out_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FillParams:
    """FILL."""

    value: int
    f32_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LutParams:
    """LUT; ``function`` is a UnaryKind value."""

    table: bytes
    function: str
    alpha: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftmaxParams:
    """SOFTMAX."""

    rows: int
    columns: int
    beta: float
    exp_table: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeParams:
    """RESIZE_NEAREST, RESIZE_BILINEAR."""

    n: int
    in_h: int
    in_w: int
    c: int
    out_h: int
    out_w: int
    align_corners: int
    half_pixel_centers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertParams:
    """QUANTIZE, DEQUANTIZE."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgMaxParams:
    """ARGMAX."""

    outer: int
    size: int
    inner: int


Params = (
    ConvParams
    | PoolParams
    | MeanParams
    | BinaryParams
    | CopyParams
    | FillParams
    | LutParams
    | SoftmaxParams
    | ResizeParams
    | ConvertParams
    | ArgMaxParams
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slot:
    """One tensor of the lowered network; IR tensors that only a reshape tells apart share a slot."""

    name: str
    shape: tuple[int, ...]
    dtype: DType
    scale: float
    zero_point: int
    data: npt.NDArray[np.generic] | None
    border_u8: bool

    @property
    def elements(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bytes(self) -> int:
        """Size in the integer arena [bytes]."""
        return self.elements * self.dtype.bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One kernel call. ``inputs`` and ``output`` index ``Lowered.slots``; ``tail`` follows the parameters in POOL."""

    code: str
    name: str
    inputs: tuple[int, ...]
    output: int
    params: Params
    weight: int | None = None
    macs: int = 0
    tail: bytes = b""
    exit: int | None = None
    segment: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightBlock:
    """Weights of one op.

    ``values`` is int8 ``(rows, row_elements)``; ``multipliers`` and ``shifts`` have one entry or one a channel;
    ``bits`` and ``biases`` have one entry a precision (a bias is int32 ``(channels,)``); ``float_values`` and
    ``float_bias`` are f32 and present only beside an f32 precision.
    """

    op: int
    storage: str
    channels: int
    values: npt.NDArray[np.int8]
    zero_point: int
    multipliers: tuple[int, ...]
    shifts: tuple[int, ...]
    rounds_once: bool
    bits: tuple[int, ...]
    biases: tuple[npt.NDArray[np.int32], ...]
    float_values: npt.NDArray[np.float32] | None = None
    float_bias: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoweredExit:
    """An exit after lowering; the exit is reached when step ``last_op`` has run."""

    name: str
    origin: ExitOrigin
    logits: int
    output: int
    last_op: int
    n_classes: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lowered:
    """A network as flat steps, ready for the arena and the container."""

    slots: tuple[Slot, ...]
    steps: tuple[Step, ...]
    weights: tuple[WeightBlock, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    exits: tuple[LoweredExit, ...]
    source: QuantGraph


def pad_six(values: tuple[int, ...], fill: int) -> Six:
    """Pad with leading ``fill`` to six entries."""
    padded = (fill,) * (MAX_RANK - len(values)) + tuple(int(value) for value in values)
    if len(padded) != MAX_RANK:
        raise ValueError(f"{len(values)} dimensions where at most {MAX_RANK} fit")
    a, b, c, d, e, f = padded
    return (a, b, c, d, e, f)


def dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the element strides of a dense row-major tensor."""
    strides = []
    step = 1
    for extent in reversed(shape):
        strides.append(step)
        step *= int(extent)
    return tuple(reversed(strides))
