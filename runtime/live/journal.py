# SPDX-License-Identifier: Apache-2.0
"""What a board wrote down of a session; firmware/journal.c is the writer."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

from joulet.link import wire

_CRC_BYTES = 4


def read_journal(nvm: bytes, epoch: int) -> npt.NDArray[np.void]:
    """Return the records of an epoch in their order, EventRecord.

    Parameters
    ----------
    nvm : bytes
        Content of the memory.
    epoch : int
        CRC of the session plan, which seeds that of each record.
    """
    dtype = wire.dtype("EventRecord")
    records = np.frombuffer(nvm, dtype, (len(nvm) - wire.JOURNAL_AT) // dtype.itemsize, wire.JOURNAL_AT)
    count = 0
    for record in records:
        if zlib.crc32(record.tobytes()[:-_CRC_BYTES], epoch) != int(record["crc32"]):
            break
        count += 1
    found: npt.NDArray[np.void] = records[:count].copy()
    return found
