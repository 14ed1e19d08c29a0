# SPDX-License-Identifier: Apache-2.0
"""Where an output may lie over an input: C, its twin, and a replay of every read and write, pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

import numpy as np
import pytest

from joulet._core import ffi, lib
from joulet.container import layout
from joulet.container.pool import encode_params
from joulet.plan.overlap import ANYWHERE, BLOCK_PIXELS, LINES_LIMIT, NEVER, Overlap, overlap_of
from joulet.plan.steps import BinaryParams, ConvParams, PoolParams, dense_strides, pad_six

Params = ConvParams | PoolParams | BinaryParams
SHAPES = 400


def _conv(rng: np.random.Generator, code: str) -> ConvParams:
    """Draw a window, sensible or not: any padding and any number of outputs pass the check of a container."""

    def draw(low: int, high: int) -> int:
        return int(rng.integers(low, high + 1))

    in_c = draw(1, 4)
    out_c = in_c * draw(1, 2) if code == "DWCONV" else draw(1, 6)
    groups = 1
    if code == "CONV" and rng.random() < 0.3:
        groups = draw(1, 3)
        in_c, out_c = groups * draw(1, 2), groups * draw(1, 2)
    values = {field.name: 0 for field in fields(ConvParams)}
    values |= {
        "n": draw(1, 2), "in_h": draw(1, 6), "in_w": draw(1, 6), "in_c": in_c, "out_h": draw(1, 6), "out_w": draw(1, 6),
        "out_c": out_c, "k_h": draw(1, 4), "k_w": draw(1, 4), "stride_h": draw(1, 3), "stride_w": draw(1, 3),
        "dilation_h": draw(1, 3), "dilation_w": draw(1, 3), "pad_top": draw(0, 4), "pad_left": draw(0, 4), "groups": groups,
    }  # fmt: skip
    return ConvParams(**values)


def _pool(rng: np.random.Generator) -> PoolParams:
    """Draw a pooling whose windows all meet the input, as the check asks for."""
    k_h, k_w = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    stride_h, stride_w = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    pad_top, pad_left = int(rng.integers(0, k_h)), int(rng.integers(0, k_w))
    in_h, in_w = int(rng.integers(1, 7)), int(rng.integers(1, 7))
    values = {field.name: 0 for field in fields(PoolParams)}
    values |= {
        "n": int(rng.integers(1, 3)), "in_h": in_h, "in_w": in_w, "c": int(rng.integers(1, 5)),
        "out_h": int(rng.integers(1, (in_h + pad_top - 1) // stride_h + 2)),
        "out_w": int(rng.integers(1, (in_w + pad_left - 1) // stride_w + 2)),
        "k_h": k_h, "k_w": k_w, "stride_h": stride_h, "stride_w": stride_w, "pad_top": pad_top, "pad_left": pad_left,
    }  # fmt: skip
    return PoolParams(**values)


def _drawn() -> Iterator[tuple[str, ConvParams | PoolParams]]:
    rng = np.random.default_rng(5)
    for _ in range(SHAPES):
        for code in ("CONV", "DWCONV"):
            yield code, _conv(rng, code)
        for code in ("AVGPOOL", "MAXPOOL"):
            yield code, _pool(rng)


def _in_c(p: ConvParams | PoolParams) -> int:
    return p.in_c if isinstance(p, ConvParams) else p.c


def _out_c(p: ConvParams | PoolParams) -> int:
    return p.out_c if isinstance(p, ConvParams) else p.c


def _twin(code: str, params: ConvParams | PoolParams) -> Overlap:
    n_elements = params.n * params.out_h * params.out_w * _out_c(params)
    return overlap_of(code, params, 0, n_elements=n_elements, in_bytes=1, out_bytes=1)


def _in_c_code(code: str, params: Params, position: int, dtypes: tuple[str, str], elements: tuple[int, int]) -> Overlap:
    """Ask the C side about an op of a container that has nothing else."""
    pool = np.frombuffer(encode_params(params), np.uint8).copy()
    tensors = ffi.new("jlt_tensor_t[2]")
    for tensor, dtype, count in zip(tensors, dtypes, elements, strict=True):
        tensor.dtype, tensor.elements = layout.CODES["DType"][dtype], count
    op = ffi.new("jlt_op_t *")
    op.code, op.n_inputs, op.output = layout.CODES["OpCode"][code], 2, 1
    container = ffi.new("jlt_container_t *")
    container.tensors, container.pool = tensors, ffi.from_buffer("uint8_t[]", pool)
    found = lib.jlt_overlap_of(container, op, position)
    return Overlap(distance=found.distance, by_pixel=found.by_pixel, pixel_bytes=found.pixel_bytes)


def test_c_and_its_twin_agree_on_drawn_windows() -> None:
    kinds = set()
    for code, params in _drawn():
        n_in = params.n * params.in_h * params.in_w * _in_c(params)
        n_out = params.n * params.out_h * params.out_w * _out_c(params)
        twin = _twin(code, params)
        assert _in_c_code(code, params, 0, ("S8", "S8"), (n_in, n_out)) == twin, params
        kinds.add((code, twin.distance == NEVER, twin.distance == ANYWHERE, twin.by_pixel < twin.distance))
    assert len(kinds) >= 8  # every code, and every kind of answer that it has


def _reads(p: ConvParams | PoolParams, pixel: int, channels: Sequence[int]) -> set[int]:
    """Bytes of the input that one output pixel reads of some channels: said again, tap by tap."""
    dilation = (p.dilation_h, p.dilation_w) if isinstance(p, ConvParams) else (1, 1)
    image, rest = divmod(pixel, p.out_h * p.out_w)
    out_y, out_x = divmod(rest, p.out_w)
    found = set()
    for ky in range(p.k_h):
        for kx in range(p.k_w):
            y, x = out_y * p.stride_h + ky * dilation[0] - p.pad_top, out_x * p.stride_w + kx * dilation[1] - p.pad_left
            if 0 <= y < p.in_h and 0 <= x < p.in_w:
                at = ((image * p.in_h + y) * p.in_w + x) * _in_c(p)
                found |= {at + channel for channel in channels}
    return found


def _parts(code: str, p: ConvParams | PoolParams) -> list[tuple[range, range]]:
    """Return the channels of input and output that a kernel takes at a time: those of a group, or each alone."""
    n_parts = p.groups if isinstance(p, ConvParams) and code == "CONV" else _in_c(p)
    wide_in, wide_out = _in_c(p) // n_parts, _out_c(p) // n_parts
    return [
        (range(i * wide_in, (i + 1) * wide_in), range(i * wide_out, (i + 1) * wide_out)) for i in range(n_parts)
    ]  # fmt: skip


def _survives(code: str, p: ConvParams | PoolParams, gap: int, blocks: Sequence[int]) -> bool:
    """Replay a kernel that goes block by block, the output ``gap`` bytes below the input: is all input found unspoiled?"""
    spoiled: set[int] = set()
    pixel = 0
    for size in blocks:
        for in_channels, out_channels in _parts(code, p):
            for each in range(pixel, pixel + size):
                if spoiled & _reads(p, each, in_channels):
                    return False
            for each in range(pixel, pixel + size):
                spoiled |= {each * _out_c(p) + channel - gap for channel in out_channels}
        pixel += size
    return True


def _blocks(n_pixels: int) -> Iterator[list[int]]:
    rng = np.random.default_rng(n_pixels)
    for most in (1, BLOCK_PIXELS):
        yield [min(most, n_pixels - first) for first in range(0, n_pixels, most)]
    sizes: list[int] = []
    while sum(sizes) < n_pixels:
        sizes.append(min(int(rng.integers(1, BLOCK_PIXELS + 1)), n_pixels - sum(sizes)))
    yield sizes


def _disjoint(gap: int, n_in: int, n_out: int) -> bool:
    return gap >= n_out or gap <= -n_in


def test_what_is_allowed_survives_and_a_step_less_does_not() -> None:
    tight = 0
    for code, params in list(_drawn())[::5]:
        rule = _twin(code, params)
        n_pixels = params.n * params.out_h * params.out_w
        n_in = params.n * params.in_h * params.in_w * _in_c(params)
        n_out = n_pixels * _out_c(params)
        if rule.distance == NEVER:
            assert code == "CONV"
            assert n_pixels == 1
            continue
        edges = {rule.by_pixel, rule.distance} - {ANYWHERE}
        steps = {edge + step for edge in edges for step in range(3 * rule.pixel_bytes)}
        for gap in steps | set(range(-n_in - 1, n_out + 2, 7)):
            if rule.allows(gap) and not _disjoint(gap, n_in, n_out):
                assert all(_survives(code, params, gap, blocks) for blocks in _blocks(n_pixels)), (code, params, gap)
        exact = rule.by_pixel if rule.pixel_bytes > 1 or rule.by_pixel < rule.distance or code == "CONV" else None
        if exact not in (None, ANYWHERE) and (code != "CONV" or params.groups == 1):  # type: ignore[union-attr]
            assert not _survives(code, params, exact - rule.pixel_bytes, [1] * n_pixels), (code, params)
            tight += 1
    assert tight > 100


@pytest.mark.parametrize("dtypes", [("S8", "S8"), ("F32", "S8"), ("S8", "F32")])
@pytest.mark.parametrize("count", [1, 2, 3, 17])
def test_elements(dtypes: tuple[str, str], count: int) -> None:
    wide = [1 if dtype == "S8" else 4 for dtype in dtypes]
    code = "LUT" if wide == [1, 1] else "QUANTIZE" if wide[1] == 1 else "DEQUANTIZE"
    rule = overlap_of(code, None, 0, n_elements=count, in_bytes=wide[0], out_bytes=wide[1])
    params = _binary((count,), (count,), (count,))  # any record: these ops are not asked for theirs
    assert _in_c_code(code, params, 0, dtypes, (count, count)) == rule

    def survives(gap: int) -> bool:
        """Element by element, the most demanding of all blocks."""
        last = [max((i + 1) * wide[1] - gap, 0) for i in range(count)]  # the end of what is written, in the input
        first = [i * wide[1] - gap for i in range(count)]
        return all(
            last[i] <= (i + 1) * wide[0] or first[i] >= count * wide[0] for i in range(count - 1)
        )  # fmt: skip

    for gap in range(-count * wide[0], count * wide[1] + 1):
        if rule.allows(gap):
            assert survives(gap), gap
    if count > 1:
        assert not survives(rule.distance - 1)


def _binary(dims: tuple[int, ...], a: tuple[int, ...], b: tuple[int, ...]) -> BinaryParams:
    """Return an element-wise op on operands of shapes ``a`` and ``b``."""

    def strides(shape: tuple[int, ...]) -> tuple[int, ...]:
        dense = dense_strides(shape)
        return tuple(0 if extent == 1 else stride for extent, stride in zip(shape, dense, strict=True))

    values = {field.name: 0 for field in fields(BinaryParams)}
    values |= {"dims": pad_six(dims, 1), "stride_a": pad_six(strides(a), 0), "stride_b": pad_six(strides(b), 0)}
    return BinaryParams(**values)  # type: ignore[arg-type]


def test_operands_that_are_broadcast_are_read_again() -> None:
    params = _binary((3, 4), (3, 4), (1, 4))
    for code in ("ADD", "SUB", "MUL"):
        for position, element_wise in ((0, True), (1, False)):
            rule = overlap_of(code, params, position, n_elements=12, in_bytes=1, out_bytes=1)
            assert rule.distance == (0 if element_wise else NEVER)
            assert _in_c_code(code, params, position, ("S8", "S8"), (12, 12)) == rule


def test_ops_that_read_everything_again_never_overlap() -> None:
    params = _conv(np.random.default_rng(0), "CONV")
    for code in ("FC", "MEAN", "COPY", "FILL", "RESIZE_NEAREST", "RESIZE_BILINEAR", "ARGMAX"):
        assert overlap_of(code, params, 0, n_elements=9, in_bytes=1, out_bytes=1).distance == NEVER
        assert _in_c_code(code, params, 0, ("S8", "S8"), (9, 9)).distance == NEVER


def test_a_window_that_would_take_long_to_look_at_is_left_alone() -> None:
    params = replace(_conv(np.random.default_rng(0), "DWCONV"), n=1, in_h=LINES_LIMIT, out_h=LINES_LIMIT - 1, out_w=1)
    assert _twin("DWCONV", params).distance < NEVER
    longer = replace(params, out_w=2)
    assert _twin("DWCONV", longer).distance == NEVER
    assert _in_c_code("DWCONV", longer, 0, ("S8", "S8"), (9, 9)).distance == NEVER
