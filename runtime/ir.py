# SPDX-License-Identifier: Apache-2.0
"""The one intermediate representation: a frozen graph of tensors and ops.

A :class:`Graph` is what an importer returns and what every pass takes and returns. Layout is NHWC. Ops are in
execution order. A tensor is either constant (``data`` is set), a graph input, or the output of exactly one op.

The same type holds float graphs (``f32`` tensors, no quantisation) and integer graphs (``s8`` activations with
one scale and zero point a tensor; weights ``s8`` with one scale an output channel). Ops that an importer can
express by others do not exist here: ``split`` is several strided slices, a reshape is an op that moves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]


class DType(Enum):
    """Element type of a tensor; the value is the NumPy dtype name."""

    S8 = "int8"
    S32 = "int32"
    F32 = "float32"

    @property
    def bytes(self) -> int:
        """Size of one element [bytes]."""
        return int(np.dtype(self.value).itemsize)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quant:
    """Affine quantisation, real = scale × (q − zero_point).

    ``scale`` has one element, or one an index along ``axis`` (weights only). ``zero_point`` is a single integer:
    0 for symmetric weights, non-zero for activations and for weights that were uint8 before import.
    """

    scale: tuple[float, ...]
    zero_point: int = 0
    axis: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tensor:
    """One tensor. ``border`` is the dtype the outside world uses where it differs (``uint8`` inputs and outputs).

    Weights that were uint8 in the file keep the mark: their layers derive multipliers from a float32 product of scales.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DType
    quant: Quant | None = None
    data: Array | None = None
    border: str | None = None

    @property
    def elements(self) -> int:
        """Number of elements; 1 for a scalar."""
        return int(np.prod(self.shape, dtype=np.int64))


class Activation(Enum):
    """Fused activation of the TFLite schema."""

    NONE = "none"
    RELU = "relu"
    RELU6 = "relu6"
    RELU_N1_TO_1 = "relu_n1_to_1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv:
    """conv2d, depthwise_conv2d: inputs (x, weights, bias?). Weights ``(o, kh, kw, i)``; depthwise ``(1, kh, kw, o)``.

    Pads are explicit, (top, left); the bottom and right follow from the output shape. ``groups`` is 1 except for
    grouped conv2d, where the weights hold i = in_c / groups.
    """

    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    activation: Activation = Activation.NONE
    groups: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense:
    """fully_connected: inputs (x, weights ``(o, i)``, bias?); x is read as ``(elements / i, i)``."""

    activation: Activation = Activation.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """avg_pool2d, max_pool2d: padding never counts in an average."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int] = (0, 0)
    activation: Activation = Activation.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduce:
    """mean over ``axes`` (sorted, non-negative)."""

    axes: tuple[int, ...]
    keep_dims: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """add, sub, mul with NumPy broadcasting; either input may be constant."""

    activation: Activation = Activation.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Pad:
    """pad with ``value`` (real value, 0 unless PADV2); ``before``/``after`` have one entry a dimension."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    value: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat:
    """concat of its inputs along ``axis``; in an integer graph all of them share the output's quantisation."""

    axis: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Transpose:
    """transpose: output dimension i is input dimension ``perm[i]``."""

    perm: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """strided_slice: output ``o[i…] = x[begin + stride·i …]``, one entry a dimension of the *input*.

    ``sizes`` is the extent taken per dimension; the op's output tensor may drop dimensions of extent 1.
    """

    begin: tuple[int, ...]
    stride: tuple[int, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reshape:
    """reshape: same elements, same order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax:
    """softmax over the last dimension."""

    beta: float = 1.0


class UnaryKind(Enum):
    """Functions of one variable; an integer graph evaluates them through a 256-entry table."""

    REQUANTIZE = "requantize"
    RELU = "relu"
    RELU6 = "relu6"
    RELU_N1_TO_1 = "relu_n1_to_1"
    LEAKY_RELU = "leaky_relu"
    HARD_SWISH = "hard_swish"
    LOGISTIC = "logistic"
    TANH = "tanh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unary:
    """unary: ``table[q + 128]`` is the int8 output for input q, as bytes; None in a float graph."""

    kind: UnaryKind
    alpha: float = 0.0
    table: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """resize_nearest, resize_bilinear (sizes are the tensors' shapes)."""

    align_corners: bool = False
    half_pixel_centers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Convert:
    """quantize (f32 → s8) and dequantize (s8 → f32); scales are the tensors' own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgMax:
    """argmax over ``axis``; the first of equal values; output s32."""

    axis: int


Attrs = (
    Conv
    | Dense
    | Pool
    | Reduce
    | Binary
    | Pad
    | Concat
    | Transpose
    | Slice
    | Reshape
    | Softmax
    | Unary
    | Resize
    | Convert
    | ArgMax
)


class OpKind(Enum):
    """Every op of the IR, with the attribute class it carries in :data:`ATTRS`."""

    CONV2D = "conv2d"
    DEPTHWISE_CONV2D = "depthwise_conv2d"
    FULLY_CONNECTED = "fully_connected"
    AVG_POOL2D = "avg_pool2d"
    MAX_POOL2D = "max_pool2d"
    MEAN = "mean"
    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    PAD = "pad"
    CONCAT = "concat"
    TRANSPOSE = "transpose"
    STRIDED_SLICE = "strided_slice"
    RESHAPE = "reshape"
    SOFTMAX = "softmax"
    UNARY = "unary"
    RESIZE_NEAREST = "resize_nearest"
    RESIZE_BILINEAR = "resize_bilinear"
    QUANTIZE = "quantize"
    DEQUANTIZE = "dequantize"
    ARGMAX = "argmax"


ATTRS: dict[OpKind, type] = {
    OpKind.CONV2D: Conv,
    OpKind.DEPTHWISE_CONV2D: Conv,
    OpKind.FULLY_CONNECTED: Dense,
    OpKind.AVG_POOL2D: Pool,
    OpKind.MAX_POOL2D: Pool,
    OpKind.MEAN: Reduce,
    OpKind.ADD: Binary,
    OpKind.SUB: Binary,
    OpKind.MUL: Binary,
    OpKind.PAD: Pad,
    OpKind.CONCAT: Concat,
    OpKind.TRANSPOSE: Transpose,
    OpKind.STRIDED_SLICE: Slice,
    OpKind.RESHAPE: Reshape,
    OpKind.SOFTMAX: Softmax,
    OpKind.UNARY: Unary,
    OpKind.RESIZE_NEAREST: Resize,
    OpKind.RESIZE_BILINEAR: Resize,
    OpKind.QUANTIZE: Convert,
    OpKind.DEQUANTIZE: Convert,
    OpKind.ARGMAX: ArgMax,
}

WEIGHTED = frozenset({OpKind.CONV2D, OpKind.DEPTHWISE_CONV2D, OpKind.FULLY_CONNECTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One op; ``inputs`` and ``outputs`` index :attr:`Graph.tensors`. An absent bias is simply not listed.

    ``exit`` is the index of the exit whose head this op belongs to, or None for the backbone.
    """

    kind: OpKind
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attrs: Attrs
    exit: int | None = None


class ExitOrigin(Enum):
    """Where a head comes from: the file, a fit on pooled features of an inner layer, or a re-fit of the last head."""

    IMPORTED = "imported"
    ATTACHED = "attached"
    REFIT = "refit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """A classifier head: ``logits`` (before softmax, feeds the confidence) and ``output`` are tensor indices.

    ``n_classes`` is 0 for a model without classes, whose confidence is constant.
    """

    name: str
    origin: ExitOrigin
    logits: int
    output: int
    n_classes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A whole network. ``exits`` is in order of depth; the last one is the imported head."""

    name: str
    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    exits: tuple[Exit, ...] = ()
    source: dict[str, str] = field(default_factory=dict)

    def with_ops(self, ops: tuple[Op, ...]) -> Graph:
        """Return the same graph with other ops."""
        return replace(self, ops=ops)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Precision:
    """One assignment of weight bits to every weighted op, by index in :attr:`Graph.ops`.

    ``bits`` is 8, 4 or 32 for each weighted op; ``bias`` holds the int32 bias of an op, ``(o,)``, where it differs
    from the graph's own (bias correction is fitted per precision).
    """

    name: str
    bits: dict[int, int]
    bias: dict[int, npt.NDArray[np.int32]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """Operating points along one choice of precisions: ``precisions[k]`` indexes the precision of segment k.

    Segment k is everything between exit k − 1 and exit k. Lists run over exits. ``confidence_q15[k]`` maps the
    margin bin (margin >> 3, 32 bins) of exit k to P(correct); ``accuracy_q15`` is the mean over the calibration
    set; ``auto_threshold_q15[k]`` is the confidence from which ``--depth auto`` stops at exit k (0 for the last).
    """

    name: str
    precisions: tuple[int, ...]
    confidence_q15: tuple[tuple[int, ...], ...]
    accuracy_q15: tuple[int, ...]
    auto_threshold_q15: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantGraph:
    """An integer graph with its precisions, how each weighted op is stored, and its operating points.

    ``storage`` maps each weighted op to ``nested`` or ``s8``. ``float_weights`` maps it to its f32 weights and bias
    and is filled only where an ``f32`` precision exists.
    """

    graph: Graph
    precisions: tuple[Precision, ...]
    storage: dict[int, str]
    paths: tuple[Path, ...]
    float_weights: dict[int, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
