# SPDX-License-Identifier: Apache-2.0
"""How far over an input an output may lie: the twin of ``csrc/core/overlap.c``, which a test holds against it.

Kernels read all inputs of a block of output pixels before they write the block, and blocks ascend; what has been written up to
one pixel may therefore take the bytes that no later pixel reads. The idea is Blacker, Bridges and Hadfield, "Diagonal Memory
Optimisation for Machine Learning on Micro-controllers", 2020, arXiv:2010.01668; here the distance is found from rows and columns,
exactly, for any window, padding and stride.
"""

from __future__ import annotations

from dataclasses import dataclass

from joulet.plan.steps import BinaryParams, ConvParams, PoolParams

BLOCK_PIXELS = 8
LINES_LIMIT = 1 << 14
BY_ELEMENT = frozenset({"LUT", "SOFTMAX", "QUANTIZE", "DEQUANTIZE", "ADD", "SUB", "MUL"})
CHANNELS_LIMIT = 1 << 16
NEVER = (1 << 31) - 1
ANYWHERE = -(1 << 31)
_NOTHING = NEVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """The output may begin ``distance`` bytes or more below the input, or ``by_pixel`` or more in steps of ``pixel_bytes``.

    Negative distances are above the input.
    """

    distance: int
    by_pixel: int
    pixel_bytes: int = 1

    def allows(self, gap: int) -> bool:
        """Tell whether the output may begin ``gap`` bytes below the input."""
        return gap >= self.distance or (gap >= self.by_pixel and gap % self.pixel_bytes == 0)


NOWHERE = Overlap(distance=NEVER, by_pixel=NEVER)


def overlap_of(code: str, params: object, position: int, *, n_elements: int, in_bytes: int, out_bytes: int) -> Overlap:
    """Return where the output of an op may lie over one of its inputs that is not needed later.

    Parameters
    ----------
    code : str
        Name as in ``layout.CODES["OpCode"]``.
    params : object
        Its parameters: :class:`ConvParams`, :class:`PoolParams` or :class:`BinaryParams` where the op has them.
    position : int
        Which input.
    n_elements : int
        Elements of the output.
    in_bytes, out_bytes : int
        Width of an element of the input and of the output [bytes].
    """
    if isinstance(params, ConvParams) and code in ("CONV", "DWCONV"):
        return _of_conv(params, depthwise=code == "DWCONV")
    if isinstance(params, PoolParams):
        return _of_window(_Window.of_pool(params), ordered=False)
    if code not in BY_ELEMENT:
        return NOWHERE
    if isinstance(params, BinaryParams) and not _is_dense(
        params.dims, params.stride_b if position else params.stride_a
    ):
        return NOWHERE
    growth = out_bytes - in_bytes
    lead = ANYWHERE if n_elements == 1 else growth * (n_elements - 1 if growth > 0 else 1)
    return Overlap(distance=lead, by_pixel=lead)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """A window that slides over rows and columns; channels are those of a whole pixel."""

    n: int
    in_h: int
    in_w: int
    in_c: int
    out_h: int
    out_w: int
    out_c: int
    rows: tuple[int, int, int, int]  # stride, padding, extent, dilation
    columns: tuple[int, int, int, int]

    @staticmethod
    def of_conv(p: ConvParams) -> _Window:
        """Return the window of a convolution."""
        return _Window(
            n=p.n, in_h=p.in_h, in_w=p.in_w, in_c=p.in_c, out_h=p.out_h, out_w=p.out_w, out_c=p.out_c,
            rows=(p.stride_h, p.pad_top, p.k_h, p.dilation_h), columns=(p.stride_w, p.pad_left, p.k_w, p.dilation_w),
        )  # fmt: skip

    @staticmethod
    def of_pool(p: PoolParams) -> _Window:
        """Return the window of a pooling."""
        return _Window(
            n=p.n, in_h=p.in_h, in_w=p.in_w, in_c=p.c, out_h=p.out_h, out_w=p.out_w, out_c=p.c,
            rows=(p.stride_h, p.pad_top, p.k_h, 1), columns=(p.stride_w, p.pad_left, p.k_w, 1),
        )  # fmt: skip


def _of_conv(p: ConvParams, *, depthwise: bool) -> Overlap:
    if not depthwise and p.n * p.out_h * p.out_w == 1:
        return NOWHERE
    return _of_window(_Window.of_conv(p), ordered=not depthwise and p.groups == 1)


def _of_window(w: _Window, *, ordered: bool) -> Overlap:
    if w.n * w.out_h + w.out_w > LINES_LIMIT or w.out_c > CHANNELS_LIMIT:
        return NOWHERE
    lead, lowest = _lead(w)
    if ordered or lowest == _NOTHING:
        return Overlap(distance=lead, by_pixel=lead)
    held = min(max(lead, -lowest) + BLOCK_PIXELS * w.out_c, w.n * w.out_h * w.out_w * w.out_c - lowest)
    same = w.in_c == w.out_c
    return Overlap(distance=held, by_pixel=lead if same else held, pixel_bytes=w.in_c if same else 1)


def _first_read(out: int, window: tuple[int, int, int, int], extent: int) -> int:
    stride, pad, k, dilation = window
    start = out * stride - pad
    skipped = -(start // dilation) if start < 0 else 0
    first = start + skipped * dilation
    return first if skipped < k and first < extent else _NOTHING


def _lead_in_row(w: _Window, begin: int) -> tuple[int, int]:
    lead, leftmost = ANYWHERE, _NOTHING
    for x in range(w.out_w - 1, begin - 1, -1):
        leftmost = min(leftmost, _first_read(x, w.columns, w.in_w))
        if leftmost != _NOTHING:
            lead = max(lead, x * w.out_c - leftmost * w.in_c)
    return lead, leftmost


def _lead(w: _Window) -> tuple[int, int]:
    """Return by how much writing runs ahead of reading at the most, and the first byte that is read."""
    in_row, leftmost = _lead_in_row(w, 0)
    in_first_row, _ = _lead_in_row(w, 1)
    lead, lowest = ANYWHERE, _NOTHING
    for row in range(w.n * w.out_h - 1, -1, -1):
        begin = row * w.out_w * w.out_c
        if lowest != _NOTHING and (row > 0 or w.out_w > 1):
            lead = max(lead, begin + (w.out_w - 1) * w.out_c - lowest)
        y = _first_read(row % w.out_h, w.rows, w.in_h)
        if _NOTHING in (y, leftmost):
            continue
        start = (row // w.out_h * w.in_h + y) * w.in_w * w.in_c
        here = in_row if row > 0 else in_first_row
        if here != ANYWHERE:
            lead = max(lead, begin + here - start)
        lowest = min(lowest, start + leftmost * w.in_c)
    return lead, lowest


def _is_dense(dims: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    step = 1
    for extent, stride in zip(reversed(dims), reversed(strides), strict=True):
        if extent > 1 and stride != step:
            return False
        step *= extent
    return True
