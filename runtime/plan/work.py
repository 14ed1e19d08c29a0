# SPDX-License-Identifier: Apache-2.0
"""The work of an op, counted as the kernels of an instruction set do it: what cycles are linear in.

A kernel runs blocks of so many pixels by so many channels over rows that are padded to so many elements; what does not fill a
block costs as much as what does. So counts are of blocks and rows, and not of MACs alone. Layouts are those of ``csrc/kernels``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from joulet.container.layout import CODES, dtype
from joulet.plan.work_mve import mve_plain, mve_work

Counts = dict[str, float]

WEIGHTED = ("conv", "conv1x1", "dwconv", "fc")
_OPS = {code: name for name, code in CODES["OpCode"].items()}
_STRUCTS = {
    **dict.fromkeys(("CONV", "DWCONV", "FC"), "ConvParams"),
    **dict.fromkeys(("AVGPOOL", "MAXPOOL"), "PoolParams"),
    "MEAN": "MeanParams",
    "COPY": "CopyParams",
    "SOFTMAX": "SoftmaxParams",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blocks:
    """How kernels of an instruction set divide their work.

    Attributes
    ----------
    channels, elements
        Of a convolution's block, which has four pixels: output channels, and what rows of weights are padded to.
    singles
        Pixels that do not fill a block are done one by one, each at the cost of a block.
    vector
        Rows that are done at once where there is one pixel.
    window
        Most neighbouring pixels of a depthwise block.
    """

    channels: int
    elements: int
    singles: bool
    vector: int
    window: int


_PIXELS = 4
_PASS_PIXELS = 8  # for which the reference unpacks a row of weights once
_BLOCKS: Mapping[str, _Blocks] = {
    "REF": _Blocks(channels=1, elements=8, singles=False, vector=1, window=1),
    "ARMV6M": _Blocks(channels=2, elements=4, singles=False, vector=8, window=6),
    "ARMV7EM": _Blocks(channels=2, elements=4, singles=True, vector=4, window=8),
}
KERNEL_SETS = (*_BLOCKS, "MVE")


def op_name(container: Any, op: int) -> str:
    """Return an op's name: the first of those that were merged into it."""
    names = container.meta.get("ops", ())
    if op >= len(names):
        return f"op {op}"
    name = names[op]["name"] if isinstance(names[op], Mapping) else names[op]
    return str(name).split(";")[0]


def op_params(container: Any, op: int) -> Any:
    """Return the parameter record of an op, None of one whose work depends on sizes alone."""
    record = container.ops[op]
    struct = _STRUCTS.get(_OPS[int(record["code"])])
    if struct is None:
        return None
    return np.frombuffer(bytes(container.pool), dtype(struct), 1, int(record["params_offset"]))[0]


def work_class(container: Any, op: int, kernels: str) -> str:
    """Return the class an op is counted in: conv, conv1x1, dwconv, fc (a matrix times one vector), or the lower-case op code.

    Of one pixel a convolution is a vector too, but ARMV7EM has another kernel for it.
    """
    name = _OPS[int(container.ops[op]["code"])].lower()
    if name not in ("conv", "fc"):
        return name
    p = op_params(container, op)
    is_vector = int(p["n"]) * int(p["out_h"]) * int(p["out_w"]) == 1
    if is_vector and (name == "fc" or kernels != "ARMV7EM"):
        return "fc"
    return "conv1x1" if int(p["k_h"]) * int(p["k_w"]) == 1 else "conv"


def work_of(container: Any, op: int, kernels: str) -> Counts:
    """Return the counts of an op, by name, when kernels of the set ``kernels`` run it."""
    work, p = work_class(container, op, kernels), op_params(container, op)
    if work not in WEIGHTED:
        counts = _plain(container, op, work, p)
        return counts | mve_plain(work, counts, p) if kernels == "MVE" else counts
    if kernels == "MVE":
        return mve_work(p, work, _shifts(container, op))
    count = {"fc": _vector, "dwconv": _depthwise}.get(work, _dense)
    counts = count(p, kernels)
    return counts | _rare(container, op, kernels, p, counts)


def _rare(container: Any, op: int, kernels: str, p: Any, counts: Counts) -> Counts:
    """Return the work of outputs out of the ordinary: clamped within int8, or of channels that are not shifted right."""
    clamps = int(p["act_min"]) > -128 or int(p["act_max"]) < 127
    shifts = _shifts(container, op)
    slow = bool((shifts >= 0).any())
    if kernels == "ARMV7EM":
        return {
            "clamped": counts["output"] * clamps,
            "slow_output": counts["output"] * slow,
            "slow_mac": counts["mac"] * slow,
            "each": int(p["out_c"]) * (len(shifts) > 1),
        }
    return {"clamped": counts["output"] * (clamps or (slow and kernels == "ARMV6M"))}


def _shifts(container: Any, op: int) -> Any:
    """Return by how much each channel's outputs are shifted, or all of them."""
    weight = container.weights[int(container.ops[op]["weight"])]
    return np.frombuffer(bytes(container.pool), "<i4", int(weight["n_multipliers"]), int(weight["shift_offset"]))


def taps(p: Any, axis: str) -> int:
    """Return the kernel rows or columns (``h`` or ``w``) that lie inside the input, summed over the output's."""
    starts = np.arange(int(p[f"out_{axis}"])) * int(p[f"stride_{axis}"]) - int(p[f"pad_{_BEFORE[axis]}"])
    dilation = int(p[f"dilation_{axis}"]) if f"dilation_{axis}" in p.dtype.names else 1
    places = starts[:, None] + dilation * np.arange(int(p[f"k_{axis}"]))
    return int(((places >= 0) & (places < int(p[f"in_{axis}"]))).sum())


_BEFORE = {"h": "top", "w": "left"}


def whole_windows(p: Any, axis: str) -> int:
    """Return the rows or columns of the output whose windows lie inside the input whole."""
    starts = np.arange(int(p[f"out_{axis}"])) * int(p[f"stride_{axis}"]) - int(p[f"pad_{_BEFORE[axis]}"])
    ends = starts + int(p[f"dilation_{axis}"]) * (int(p[f"k_{axis}"]) - 1)
    return int(((starts >= 0) & (ends < int(p[f"in_{axis}"]))).sum())


def _up(value: int, to: int) -> int:
    return -(-value // to) * to


def _row_elements(p: Any, kernels: str) -> int:
    """Return the elements of a row of weights, with those that pad it."""
    blocks = _BLOCKS[kernels]
    row, k_h = int(p["k_w"]) * (int(p["in_c"]) // max(1, int(p["groups"]))), int(p["k_h"])
    if kernels != "ARMV7EM":
        return _up(k_h * row, blocks.elements)
    joined = row % 4 == 1 and 1 < k_h <= 4
    return 4 * (k_h * (row // 4) + 1) if joined else k_h * _up(row, 4)


def _vector(p: Any, kernels: str) -> Counts:
    blocks = _BLOCKS[kernels]
    outputs, elements = int(p["out_c"]), _up(int(p["k_h"]) * int(p["k_w"]) * int(p["in_c"]), blocks.elements)
    rows = -(-outputs // blocks.vector)
    counts: Counts = {
        "call": 1,
        "patch": elements,
        "row": rows,
        "mac": rows * blocks.vector * elements,
        "output": outputs,
        "left": outputs % blocks.vector,
    }
    if kernels == "ARMV7EM":  # runs turns of four groups, and fills a vector up that does not end with a group
        counts |= {
            "turn": rows * -(-elements // 16),
            "filled": elements * (int(p["in_c"]) % 4 > 0),
            "part": int(outputs % 4 > 0),
        }
    return counts


def _dense(p: Any, kernels: str) -> Counts:
    blocks = _BLOCKS[kernels]
    pixels, outputs = int(p["n"]) * int(p["out_h"]) * int(p["out_w"]), int(p["out_c"])
    left = pixels % _PIXELS
    runs = pixels // _PIXELS + (left if blocks.singles else left > 0)
    alone = kernels == "REF" and pixels % _PASS_PIXELS == 1  # the only one of a pass
    runs -= alone
    rows = runs * -(-outputs // blocks.channels)
    elements = _row_elements(p, kernels)
    border = pixels - int(p["n"]) * whole_windows(p, "h") * whole_windows(p, "w")
    window = int(p["k_h"]) * int(p["k_w"]) * int(p["in_c"])
    return {
        "call": 1,
        "pixel": pixels,
        "patch": pixels * window,
        "patch_row": pixels * int(p["k_h"]),
        "border": border,
        "border_patch": border * window,
        **_odd({"patch": pixels * window, "border_patch": border * window}, int(p["k_w"]) * int(p["in_c"])),
        "block": runs,
        "row": rows,
        "mac": rows * blocks.channels * _PIXELS * elements,
        "output": pixels * outputs,
        "left": left * outputs,
        "alone_mac": alone * outputs * elements,
        "weight": -(-pixels // _PASS_PIXELS) * outputs * elements * (kernels == "REF"),
    }


def _odd(counts: Counts, row: int) -> Counts:
    """Return counts of bytes again where rows are no whole words: they are copied byte by byte."""
    return {f"odd_{name}": amount * (row % 4 > 0) for name, amount in counts.items()}


def _depthwise(p: Any, kernels: str) -> Counts:
    n, out_h, out_w, channels = (int(p[key]) for key in ("n", "out_h", "out_w", "out_c"))
    pixels, kernel = n * out_h * out_w, int(p["k_h"]) * int(p["k_w"])
    row = _row_of_windows(kernels, p)
    # blocks that reach beyond the input are gathered first
    inside_h = whole_windows(p, "h")
    gathered = inside_h * row.beyond + (out_h - inside_h) * row.blocks
    gathered_columns = inside_h * row.columns_beyond + (out_h - inside_h) * row.columns
    inside = n * taps(p, "h") * taps(p, "w")
    border = pixels - n * whole_windows(p, "h") * whole_windows(p, "w")
    return {
        "call": 1,
        "pixel": pixels,
        "output": pixels * channels,
        "window": inside,
        "mac": inside * channels,
        "multiplied": inside * channels * (channels > int(p["in_c"])),
        "block": n * out_h * row.blocks,
        "row": n * out_h * row.blocks * channels,
        "single": n * out_h * row.singles * channels,
        "apart": n * out_h * row.apart * channels * int(p["k_h"]),
        "slow": n * out_h * row.slow * channels,
        "slow_mac": n * out_h * row.slow * channels * kernel,
        "column": n * out_h * row.columns * _up(channels, 4),
        "gathered_row": n * gathered * int(p["k_h"]),
        "gathered": n * gathered_columns * int(p["k_h"]) * channels,
        **_odd({"gathered": n * gathered_columns * int(p["k_h"]) * channels}, channels),
        "border": border,
        "border_row": border * channels,
        "weight": kernel * channels,
    }


@dataclass(slots=True)
class _Row:
    """One row of a depthwise output.

    Attributes
    ----------
    blocks, singles
        Blocks of neighbouring pixels, and pixels that are done one by one.
    apart
        Blocks whose windows are two columns apart, where these have code of their own.
    slow
        Pixels by code for any window.
    columns
        Of the input, under all blocks.
    beyond, columns_beyond
        Blocks that reach beyond the left or right end of the input, and the columns under those.
    """

    blocks: int = 0
    singles: int = 0
    apart: int = 0
    slow: int = 0
    columns: int = 0
    beyond: int = 0
    columns_beyond: int = 0


def _row_of_windows(kernels: str, p: Any) -> _Row:
    stride, k_w, left = int(p["stride_w"]), int(p["k_w"]), int(p["out_w"])
    row, start = _Row(), -int(p["pad_left"])
    while left > 0:
        here = min(left, _BLOCKS[kernels].window)
        if kernels == "ARMV6M":
            own = k_w == 3 and stride <= 2
            here = _neighbours(left, own and stride == 1)
            row.apart += own and stride == 2 and here == 4
            row.slow += here if not own or here == 1 or (stride == 2 and here < 4) else 0
        elif kernels == "ARMV7EM":
            row.singles += here - (5 if stride == 1 and here in (5, 6) else 4 * (here // 4))
        columns = (here - 1) * stride + k_w
        if start < 0 or start + columns > int(p["in_w"]):
            row.beyond += 1
            row.columns_beyond += columns
        row.columns += columns
        row.blocks += 1
        left -= here
        start += here * stride
    return row


def _neighbours(left: int, close: bool) -> int:
    """Return how many of the pixels that are left go together on cores without SIMD; ``close``: 3 columns wide, stride 1."""
    if not close:
        return 4 if left >= 4 else 2 if left >= 2 else 1
    return left if left <= 6 else (left + 1) // 2 if left < 12 else 6


def _plain(container: Any, op: int, work: str, p: Any) -> Counts:
    record = container.ops[op]
    inputs = [int(container.tensors[int(t)]["elements"]) for t in record["inputs"][: int(record["n_inputs"])]]
    counts: Counts = {
        "call": 1,
        "output": int(container.tensors[int(record["output"])]["elements"]),
        "input": max(inputs, default=0),
    }
    if work in ("avgpool", "maxpool"):
        pixels, inside = int(p["n"]) * int(p["out_h"]) * int(p["out_w"]), int(p["n"]) * taps(p, "h") * taps(p, "w")
        counts |= {"pixel": pixels, "window": inside, "mac": inside * int(p["c"])}
    elif work == "softmax":
        counts["row"] = int(p["rows"])
    elif work == "mean":
        counts["row"] = counts["input"] / int(p["dims"][-1])
    elif work == "copy":
        inner = int(p["dims"][-1])
        strided = int(p["in_stride"][-1]) != 1 or int(p["out_stride"][-1]) != 1
        counts |= {"row": counts["output"] / max(1, inner), "strided": counts["output"] * strided}
    return counts
