# SPDX-License-Identifier: Apache-2.0
"""The MEASURED section: what a model was seen to cost on one board."""

from __future__ import annotations

import json

import numpy as np

from joulet.container import layout
from joulet.container.pool import record
from joulet.errors import ContainerError, PlanError
from joulet.measured import MeasuredCosts, measured_from

_HEADER = layout.dtype("Measured")


def measured_section(costs: MeasuredCosts) -> bytes:
    """Return the content of a MEASURED section.

    Raises
    ------
    PlanError
        For a name that does not fit.
    """
    name = costs.board.encode("ascii", "replace")
    if len(name) > 31:
        raise PlanError(f"board {costs.board!r}: the name is longer than 31 characters")
    text = json.dumps(costs.to_dict(), separators=(",", ":")).encode()
    return record("Measured", name=tuple(name.ljust(32, b"\0")), json_bytes=len(text), reserved=0) + text


def read_measured(content: bytes, part: int, model_hash: bytes) -> MeasuredCosts:
    """Decode a MEASURED section.

    Raises
    ------
    ContainerError
        If it is not one, or of another board or model than it says.
    """
    where = f"MEASURED of part {part}"
    if len(content) < _HEADER.itemsize:
        raise ContainerError(f"{where} holds {len(content)} bytes, less than its record (INV-34)")
    header = np.frombuffer(content, _HEADER, 1)[0]
    text = content[_HEADER.itemsize :]
    if int(header["json_bytes"]) != len(text):
        raise ContainerError(f"{where} holds {len(text)} bytes of JSON, not {int(header['json_bytes'])} (INV-34)")
    try:
        costs = measured_from(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise ContainerError(f"{where}: {error} (INV-34)") from error
    name = header["name"].tobytes().rstrip(b"\0").decode("ascii", errors="replace")
    if costs.board != name or costs.model_hash != model_hash.hex():
        raise ContainerError(f"{where} is for another board or model than it says (INV-34)")
    return costs
