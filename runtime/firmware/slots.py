# SPDX-License-Identifier: Apache-2.0
"""Content of a board's slots as it lies in flash: a header of 64 bytes, then what the slot is for. PROTOCOL.md §7."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from joulet.errors import DataError, UsageError
from joulet.link import wire

ASK_POLICY = 0xFFFF
_POLICY_HASH = slice(16, 32)  # of the model, in a policy table; csrc/POLICY.md


def slot(name: str, content: bytes) -> bytes:
    """Return content with its header."""
    header = np.zeros((), wire.dtype("SlotHeader"))
    header["magic"], header["slot"] = wire.SLOT_MAGIC, wire.CODES["Slot"][name]
    header["bytes"], header["crc32"] = len(content), zlib.crc32(content)
    return header.tobytes() + content


def policy_slot(table: bytes, model_hash: bytes) -> bytes:
    """Return a policy table for its slot.

    Raises
    ------
    UsageError
        If it is none, or was made for another model.
    """
    if table[:4] != b"JLTP":
        raise UsageError("the policy is no policy table; joulet simulate --policy shadow --export P.jltp makes one")
    bound = table[_POLICY_HASH]
    if any(bound) and bound != model_hash[:16]:
        raise UsageError("the policy table was made for another model; fit it again with joulet simulate --export")
    return slot("POLICY", table)


def samples_slot(inputs: Sequence[npt.NDArray[np.generic]], labels: npt.NDArray[np.integer] | None = None) -> bytes:
    """Return samples for their slot; one array ``(n, …)`` an input of the model, in the model's own types.

    ``labels`` ``(n,)`` follow them, for a session that fits a head again.
    """
    if not inputs or len({len(array) for array in inputs}) != 1 or len(inputs[0]) == 0:
        raise DataError("samples are needed: one or more, the same number for every input")
    count = len(inputs[0])
    rows = [
        (array ^ np.uint8(0x80) if array.dtype == np.uint8 else np.ascontiguousarray(array))
        .reshape(count, -1)
        .view(np.uint8)
        for array in inputs
    ]
    each = sum(row.shape[1] for row in rows)
    stride = -(-each // 4) * 4
    content = np.zeros((count, stride), np.uint8)
    content[:, :each] = np.concatenate(rows, axis=1)
    header = np.zeros((), wire.dtype("Samples"))
    header["magic"], header["count"] = wire.SAMPLES_MAGIC, count
    header["bytes_each"], header["stride"] = each, stride
    behind = b"" if labels is None else np.asarray(labels, "<u2").tobytes()
    return slot("SAMPLES", header.tobytes() + content.tobytes() + behind)


def session_slot(refit: bytes = b"", **fields: int) -> bytes:
    """Return a session plan for its slot; fields of the Session record. Without ``fixed_path`` the policy is asked.

    ``refit`` is the Refit record that follows, of :func:`refit_record`.
    """
    record = np.zeros((), wire.dtype("Session"))
    record["magic"], record["fixed_path"] = wire.SESSION_MAGIC, ASK_POLICY
    for name, value in fields.items():
        record[name] = value
    return slot("SESSION", record.tobytes() + refit)


def refit_record(**fields: float) -> bytes:
    """Return how a head is fitted again, to follow a session plan; fields of the Refit record."""
    record = np.zeros((), wire.dtype("Refit"))
    record["magic"], record["keep_every"] = wire.REFIT_MAGIC, 1
    for name, value in fields.items():
        record[name] = value
    return record.tobytes()
