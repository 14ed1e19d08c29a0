# SPDX-License-Identifier: Apache-2.0
"""What a board wrote down of a session; firmware/journal.c is the writer."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

from joulet.link import wire

_CRC_BYTES = 4


def read_journal(nvm: bytes, epoch: int, *, flash: bool = False) -> npt.NDArray[np.void]:
    """Return the records of an epoch in their order, EventRecord.

    Parameters
    ----------
    nvm : bytes
        Content of the memory.
    epoch : int
        CRC of the session plan, which seeds that of each record.
    flash
        The memory is flash: records that a cut has torn lie between others, and what is erased comes after them.
    """
    dtype = wire.dtype("EventRecord")
    records = np.frombuffer(nvm, dtype, (len(nvm) - wire.JOURNAL_AT) // dtype.itemsize, wire.JOURNAL_AT)
    whole = []
    for index, record in enumerate(records):
        raw = record.tobytes()
        if zlib.crc32(raw[:-_CRC_BYTES], epoch) == int(record["crc32"]):
            whole.append(index)
        elif not flash or raw == b"\xff" * len(raw):
            break
    found: npt.NDArray[np.void] = records[whole].copy()
    return found
