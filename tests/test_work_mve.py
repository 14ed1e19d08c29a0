# SPDX-License-Identifier: Apache-2.0
"""The work of the kernels for Helium against loops that go the way of theirs, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import sparse_cases

from joulet.boards import load_board
from joulet.container.isa_plan import with_isa_plan
from joulet.container.read import Container
from joulet.plan.accesses import op_accesses
from joulet.plan.packings import expected_share, stored_share
from joulet.plan.work_mve import mve_work

SHIFTS = np.full(8, -7, np.int32)
Params = dict[str, int]


def drawn(rng: np.random.Generator) -> Params:
    """Return the parameters of a convolution of several pixels."""
    k_h, k_w, stride = (int(each) for each in rng.integers(1, 4, 3))
    in_h, in_w = (int(each) for each in rng.integers(3, 9, 2))
    top, left = int(rng.integers(0, k_h)), int(rng.integers(0, k_w))
    return {
        "n": int(rng.integers(1, 3)), "in_h": in_h, "in_w": in_w,
        "in_c": int(rng.integers(1, 21)), "out_c": int(rng.integers(1, 12)),
        "k_h": k_h, "k_w": k_w, "stride_h": stride, "stride_w": stride, "pad_top": top, "pad_left": left,
        "out_h": max(1, (in_h + top - 1) // stride), "out_w": max(2, (in_w + left - 1) // stride),
        "act_min": -128, "act_max": 127, "out_zero_point": -128,
    }  # fmt: skip


def gathered(p: Params) -> dict[str, int]:
    """Walk the pixels as csrc/kernels/mve/gather.h does."""
    found = dict.fromkeys(("pixel", "border", "border_row", "outside_row", "filled", "copied", "short_row", "row"), 0)
    row = p["k_w"] * p["in_c"]
    found["pixel"] = p["n"] * p["out_h"] * p["out_w"]
    for out_y in range(p["out_h"]):
        for out_x in range(p["out_w"]):
            y, x = out_y * p["stride_h"] - p["pad_top"], out_x * p["stride_w"] - p["pad_left"]
            if 0 <= y <= p["in_h"] - p["k_h"] and 0 <= x <= p["in_w"] - p["k_w"]:
                found["short_row" if row <= 16 else "row"] += p["n"] * p["k_h"]
                found["copied"] += p["n"] * p["k_h"] * -(-row // 16) * (row > 16)
                continue
            found["border"] += p["n"]
            columns = [0 <= x + k < p["in_w"] for k in range(p["k_w"])]
            before = columns.index(True) if any(columns) else p["k_w"]
            for k in range(p["k_h"]):
                if not 0 <= y + k < p["in_h"]:
                    found["outside_row"] += p["n"]
                    found["filled"] += p["n"] * -(-row // 16)
                    continue
                found["border_row"] += p["n"]
                found["copied"] += p["n"] * -(-sum(columns) * p["in_c"] // 16)
                behind = p["k_w"] - before - sum(columns)
                found["filled"] += p["n"] * (-(-before * p["in_c"] // 16) + -(-behind * p["in_c"] // 16))
    return found


@pytest.mark.parametrize("seed", range(60))
def test_patches_take_what_their_pixels_take(seed: int) -> None:
    p = drawn(np.random.default_rng(seed))
    if p["k_h"] == p["k_w"] == p["stride_h"] == 1 and (p["out_h"], p["out_w"]) == (p["in_h"], p["in_w"]):
        p["in_w"] += 1  # else nothing is looked for
    counts = mve_work(p, "conv", SHIFTS)
    assert {name: counts[name] for name in gathered(p)} == gathered(p)


@pytest.mark.parametrize(
    ("act_min", "zero", "shift", "kind"),
    [(-128, -128, 0, None), (-128, 3, -1, "right"), (-128, 3, 0, "any"), (3, 3, 1, "any")],
)
def test_scales_take_the_care_that_they_need(act_min: int, zero: int, shift: int, kind: str | None) -> None:
    p = drawn(np.random.default_rng(1)) | {"act_min": act_min, "out_zero_point": zero}
    counts = mve_work(p, "conv", np.array([-9, shift], np.int32))
    groups = -(-p["n"] * p["out_h"] * p["out_w"] // 3) * -(-p["out_c"] // 4)
    assert counts["group"] == groups
    assert {name for name in ("right", "any") if counts[name]} == ({kind} if kind else set())


def test_a_pointwise_layer_reads_each_vector_once_and_stores_three_pixels_a_group() -> None:
    content = sparse_cases.conv(1, absent=0.02, out=(25, 5), kernel=(1, 1), channels=(64, 64))
    board = load_board("qemu_mps3_an547_two")
    assert board.slow is not None
    container = Container.from_bytes(with_isa_plan(content, board.isa))
    reads, writes = op_accesses(container, 0, "MVE", board.slow.accesses)
    assert reads == 125 * 64 / 16
    assert writes == 42 * 3 * 16  # the last of 42 blocks has two pixels, and stores one of them twice


def test_blocks_that_fill_a_vector_up_are_there_too() -> None:
    weights = np.zeros((4, 32), np.int8)
    weights[0, ::4] = 1  # eight blocks: two vectors of two; the other two rows have one vector, of nothing
    assert stored_share("MVE", weights) == 3 / 4
    assert stored_share("ARMV7EM", weights) == 9 / 16
    assert expected_share("MVE", 16, 0.9) == 1.0  # one vector, whatever is absent
    assert expected_share("MVE", 64, 0.0) == 1.0
    assert expected_share("MVE", 64, 0.5) == (8 + 1.5) / 16
    assert expected_share("ARMV7EM", 64, 0.5) == 0.5
