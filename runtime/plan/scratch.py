# SPDX-License-Identifier: Apache-2.0
"""Scratch of the reference kernels: the twin of ``jlt_op_scratch_bytes``, which a test holds against it."""

from __future__ import annotations

from joulet.plan.steps import ConvParams, MeanParams, PoolParams, Step

GATHERED_PIXELS = 8


def scratch_bytes(step: Step, *, f32: bool) -> int:
    """Return the scratch one step asks for [bytes]."""
    params = step.params
    if isinstance(params, ConvParams):
        element = 4 if f32 else 2
        taps = params.k_h * params.k_w * params.in_c
        return 64 + element * taps * (GATHERED_PIXELS + 2) + 4 * params.out_c
    if isinstance(params, PoolParams):
        return 4 * params.c
    if isinstance(params, MeanParams):
        kept = 1
        for extent, reduced in zip(params.dims, params.reduced, strict=True):
            kept *= 1 if reduced else extent
        return 4 * kept
    return 0
