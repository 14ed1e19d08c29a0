# SPDX-License-Identifier: Apache-2.0
"""The work of the kernels for Helium, counted as the loops of ``csrc/kernels/mve`` run: vectors, groups, borders, tails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = dict[str, float]

_BYTES = 16  # of a vector
_LANES = 4  # channels of a group
_PIXELS = 3  # at once
_MOST_PIXELS = 8  # of a depthwise block


def mve_work(p: Any, work: str, shifts: npt.NDArray[np.int32]) -> Counts:
    """Return the counts of an op with weights, by name.

    Parameters
    ----------
    p
        The op's parameter record.
    work
        Its class: conv, conv1x1, dwconv or fc.
    shifts : ndarray of int32
        Of its channels, or the one of all.
    """
    if work == "dwconv":
        small = int(p["k_h"]) * int(p["k_w"]) <= _BYTES
        return _depthwise(p, shifts) if small else _large_depthwise(p, shifts)
    return _vector(p, shifts) if work == "fc" else _dense(p, shifts)


@dataclass(frozen=True, slots=True)
class _Windows:
    """Along one axis, of each output: taps before the input, in it and behind it."""

    before: npt.NDArray[np.int64]
    inside: npt.NDArray[np.int64]
    behind: npt.NDArray[np.int64]

    @property
    def whole(self) -> npt.NDArray[np.bool_]:
        whole: npt.NDArray[np.bool_] = (self.before == 0) & (self.behind == 0)
        return whole


def _windows(p: Any, axis: str) -> _Windows:
    starts = np.arange(int(p[f"out_{axis}"])) * int(p[f"stride_{axis}"]) - int(
        p["pad_top" if axis == "h" else "pad_left"]
    )
    return _inside(starts, np.full(len(starts), int(p[f"k_{axis}"])), int(p[f"in_{axis}"]))


def _inside(starts: npt.NDArray[np.int64], taps: npt.NDArray[np.int64], size: int) -> _Windows:
    inside = np.maximum(np.minimum(starts + taps, size) - np.maximum(starts, 0), 0)
    before = np.where(inside > 0, np.maximum(-starts, 0), taps)
    return _Windows(before, inside, taps - before - inside)


def _care(p: Any, shifts: npt.NDArray[np.int32]) -> str:
    """Return what scaling has to take care of, as ``jlt_mve_care`` finds it."""
    most = max(-31, int(shifts.max(initial=-31)))
    if int(p["act_min"]) >= int(p["out_zero_point"]) and most <= 0:
        return "simple"
    return "right" if most < 0 else "any"


def _pixels(p: Any) -> int:
    return int(p["n"]) * int(p["out_h"]) * int(p["out_w"])


def _up(value: int, to: int) -> int:
    return -(-value // to) * to


def _vectors(n_bytes: Any) -> Any:
    return -(-n_bytes // _BYTES)


def _length(p: Any) -> int:
    return _up(int(p["k_h"]) * int(p["k_w"]) * int(p["in_c"]), _BYTES)


def _is_pointwise(p: Any) -> bool:
    return (
        int(p["k_h"]) == int(p["k_w"]) == int(p["stride_h"]) == int(p["stride_w"]) == 1
        and (int(p["out_h"]), int(p["out_w"])) == (int(p["in_h"]), int(p["in_w"]))
        and int(p["pad_top"]) == int(p["pad_left"]) == 0
    )


def _scales(p: Any, shifts: npt.NDArray[np.int32]) -> Counts:
    """Return the work before the first output: looking at all shifts, and laying the scales out."""
    groups = -(-int(p["out_c"]) // _LANES)
    return {"call": 1, "shift": len(shifts) // _LANES, "scale": groups, "scale_each": groups * (len(shifts) > 1)}


def _patches(p: Any) -> Counts:
    """Return the work of gathering windows, rows of which may lie outside the input, or reach beyond it."""
    c, k_h, n = int(p["in_c"]), int(p["k_h"]), int(p["n"])
    row = int(p["k_w"]) * c
    y, x = _windows(p, "h"), _windows(p, "w")
    whole = n * int(y.whole.sum()) * int(x.whole.sum())
    border = _pixels(p) - whole
    rows = n * int(y.inside.sum()) * len(x.inside) - whole * k_h

    def over_border(column: npt.NDArray[np.int64]) -> int:
        return n * int(y.inside.sum() * column.sum() - k_h * y.whole.sum() * column[x.whole].sum())

    outside = border * k_h - rows
    is_short = row <= _BYTES
    return {
        "pixel": _pixels(p),
        "line": n * len(y.inside),
        "border": border,
        "border_row": rows,
        "outside_row": outside,
        "filled": over_border(_vectors(x.before * c) + _vectors(x.behind * c)) + outside * int(_vectors(row)),
        "copied": over_border(_vectors(x.inside * c)) + whole * k_h * int(_vectors(row)) * (not is_short),
        "short": whole * is_short,
        "short_row": whole * k_h * is_short,
        "row": whole * k_h * (not is_short),
    }


def _pointwise_patches(p: Any) -> Counts:
    pixels, c = _pixels(p), int(p["in_c"])
    if c == _length(p):
        blocks, left = divmod(pixels, _PIXELS)
        return {"copied": blocks * int(_vectors(_PIXELS * c)) + int(_vectors(left * c))}
    if c < _BYTES:
        return {"short": -(-pixels // _PIXELS), "short_row": pixels}
    return {"row": pixels, "copied": pixels * int(_vectors(c))}


def _dense(p: Any, shifts: npt.NDArray[np.int32]) -> Counts:
    channels, length = int(p["out_c"]), _length(p)
    care, blocks = _care(p, shifts), -(-_pixels(p) // _PIXELS)
    groups = blocks * -(-channels // _LANES)
    return {
        **_scales(p, shifts),
        **(_pointwise_patches(p) if _is_pointwise(p) else _patches(p)),
        "block": blocks,
        "group": groups,
        "right": groups * (care == "right"),
        "any": groups * (care == "any"),
        "left": blocks * (channels % _LANES > 0),
        "mac": groups * _LANES * _PIXELS * length,
    }


def _vector(p: Any, shifts: npt.NDArray[np.int32]) -> Counts:
    channels, vectors = int(p["out_c"]), _length(p) // _BYTES
    each = len(shifts) > 1
    care = "any" if each or vectors % 4 > 0 else _care(p, shifts)
    groups = -(-channels // _LANES)
    copies = not _is_pointwise(p) or int(p["in_c"]) % _BYTES > 0
    return {
        "call": 1,
        "shift": len(shifts) // _LANES,
        **(_patches(p) if copies else {}),
        "group": groups,
        "each": groups * each,
        "right": groups * (care == "right"),
        "any": groups * (care == "any"),
        "left": channels % _LANES > 0,
        "four": groups * (vectors // 4),
        "single": groups * (vectors % 4),
        "read": groups * vectors * (not copies),
    }


@dataclass(frozen=True, slots=True)
class _Strips:
    """How a depthwise convolution of small windows divides its work; ``job_of`` of dwconv_s8.c."""

    together: int  # columns of few channels that a vector has
    most: int  # outputs of a block

    @classmethod
    def of(cls, p: Any) -> _Strips:
        channels, taps = int(p["in_c"]), int(p["k_h"]) * int(p["k_w"])
        strip = 2 * _BYTES if channels <= _BYTES // 2 else _BYTES
        fit = (strip - taps) // (int(p["stride_w"]) * int(p["k_h"])) + 1
        return cls(_BYTES // channels if channels <= _BYTES else 1, min(fit, _MOST_PIXELS))


def _depthwise(p: Any, shifts: npt.NDArray[np.int32]) -> Counts:
    strips, k_h = _Strips.of(p), int(p["k_h"])
    channels, together = int(p["in_c"]), strips.together
    firsts = np.arange(0, int(p["out_w"]), strips.most)
    pixels = np.minimum(int(p["out_w"]) - firsts, strips.most)
    columns = (pixels - 1) * int(p["stride_w"]) + int(p["k_w"])
    x = _inside(firsts * int(p["stride_w"]) - int(p["pad_left"]), columns, int(p["in_w"]))
    lines = int(p["n"]) * int(p["out_h"])
    chunks = [_BYTES] * (channels // _BYTES) + [channels % _BYTES] * (channels % _BYTES > 0)
    counts: Counts = {
        **_scales(p, shifts),
        "offset": min(_BYTES, together * channels),
        "line": lines,
        "block": lines * len(firsts),
        "edge": lines * int((~x.whole).sum()),
        "chunk": lines * len(firsts) * len(chunks),
    }
    rows, repeats = np.unique(_windows(p, "h").inside, return_counts=True)
    for inside, times in zip(rows.tolist(), (repeats * int(p["n"])).tolist(), strict=True):
        _add(counts, _turned(x, columns, inside, k_h, together, chunks), times)
    for part in chunks:
        _add(counts, _summed(pixels, part, simple=_care(p, shifts) == "simple"), lines)
    return counts


def _add(to: Counts, more: Counts, times: int) -> None:
    for name, amount in more.items():
        to[name] = to.get(name, 0) + times * amount


def _turned(
    x: _Windows, columns: npt.NDArray[np.int64], inside: int, k_h: int, together: int, chunks: list[int]
) -> Counts:
    """Return the work of turning one row of blocks into strips, ``inside`` rows of which lie in the input."""
    whole, rest = x.inside // together, x.inside % together
    border = (x.inside < columns) | (inside < k_h)
    counts: Counts = {
        "border": int(border.sum()),
        "filled": int((x.before + x.behind)[border].sum()) * k_h + (k_h - inside) * int(columns.sum()),
        "filled_row": (k_h - inside) * len(columns),
    }
    counts = {name: amount * len(chunks) for name, amount in counts.items()}
    for part in chunks:
        if inside == 3:
            full = together * part == _BYTES
            more: Counts = {
                "three": int(whole.sum()) * full,
                "three_part": int(whole.sum()) * (not full) + int((rest > 0).sum()),
                "part": len(whole) * (not full) + int((rest > 0).sum()),
                "rest": int((rest > 0).sum()),
            }
        else:
            more = {
                "turn": 2 * inside * len(whole),
                "turned": inside * (int(whole.sum()) + len(whole)),
                "other": len(whole),
            }
        _add(counts, more, 1)
    return counts


def _summed(pixels: npt.NDArray[np.int64], channels: int, *, simple: bool) -> Counts:
    """Return the work of the outputs of one row of blocks, of up to sixteen channels."""
    threes, left = pixels // _PIXELS, pixels % _PIXELS
    groups = channels // _LANES
    counts: Counts = {
        "strips": int(threes.sum() + (left > 0).sum()),
        "run_3": int(threes.sum()) * simple,
        "group_3": int(threes.sum()) * groups * simple,
        "run_2": int((left == 2).sum()) * simple,
        "group_2": int((left == 2).sum()) * groups * simple,
    }
    alone = int((left == 1).sum()) if simple else int(pixels.sum())
    runs = int((left == 1).sum()) if simple else int(counts["strips"])
    counts |= {"any_run": runs, "any_pixel": alone, "any": alone * -(-channels // _LANES)}
    if simple and channels % _LANES > 0:
        more = int(threes.sum()) * _PIXELS + 2 * int((left == 2).sum())
        counts["any_run"] += int(threes.sum() + (left == 2).sum())
        counts["any_pixel"] += more
        counts["any"] += more
    return counts


def _large_depthwise(p: Any, shifts: npt.NDArray[np.int32]) -> Counts:
    groups = -(-int(p["out_c"]) // _LANES)
    y, x = _windows(p, "h"), _windows(p, "w")
    n = int(p["n"])
    return {
        **_scales(p, shifts),
        "large": 1,
        "pixel": _pixels(p),
        "group": _pixels(p) * groups,
        "row": n * int(y.inside.sum()) * len(x.inside) * groups,
        "tap": n * int(y.inside.sum()) * int(x.inside.sum()) * groups,
    }


def mve_plain(work: str, counts: Counts, p: Any) -> Counts:
    """Return what an op without weights does on top of what any kernel's counts say."""
    if work == "add":
        return {"group": counts["output"] // _LANES}
    if work != "avgpool":
        return {}
    chunks = -(-int(p["c"]) // _BYTES)
    y, x = _windows(p, "h"), _windows(p, "w")
    n = int(p["n"])
    return {
        "chunk": _pixels(p) * chunks,
        "row": n * int(y.inside.sum()) * len(x.inside) * chunks,
        "tap": n * int(y.inside.sum()) * int(x.inside.sum()) * chunks,
    }
