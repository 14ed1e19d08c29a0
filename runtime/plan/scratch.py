# SPDX-License-Identifier: Apache-2.0
"""Scratch of the reference kernels: the twin of ``jlt_op_scratch_bytes``, which a test holds against it.

A twin, so that containers can be written where the extension is not built; the check of a container asks the C side.
"""

from __future__ import annotations

import math

from joulet.plan.steps import ConvParams, MeanParams, PoolParams, Step

_GATHERED_PIXELS = 8
_ROW_ALIGN_ELEMENTS = 8


def _align(count: int, to: int) -> int:
    return -(-count // to) * to


def scratch_bytes(step: Step, *, f32: bool) -> int:
    """Return the scratch one step asks for [bytes]."""
    params = step.params
    if isinstance(params, ConvParams) and step.code == "DWCONV":
        return 0 if f32 else _align(4 * params.out_c, 16) + 2 * params.k_h * params.k_w * params.out_c
    if isinstance(params, ConvParams):
        patch = _align(params.k_h * params.k_w * (params.in_c // params.groups), _ROW_ALIGN_ELEMENTS)
        return 2 * patch * 4 if f32 else (_GATHERED_PIXELS + 1) * patch * 2
    if isinstance(params, PoolParams) and step.code == "AVGPOOL":
        return 0 if f32 else 4 * params.c
    if isinstance(params, MeanParams):
        kept = math.prod(extent for extent, reduced in zip(params.dims, params.reduced, strict=True) if not reduced)
        return 0 if f32 else 4 * kept
    return 0
