# SPDX-License-Identifier: Apache-2.0
"""Whether a firmware that was built for one model knows the ops of another one: asked before its model is given up for it."""

from __future__ import annotations

from joulet.container import layout
from joulet.container.read import Container
from joulet.errors import ContainerError

_NAMES = {code: name for name, code in layout.CODES["OpCode"].items()}


def ops_lacking(container: bytes, ops: int) -> tuple[str, ...]:
    """Return the names of a container's ops that a firmware lacks, in the order of their codes.

    Parameters
    ----------
    container : bytes
        What is to be sent; nothing is said of bytes that are no container, the board will.
    ops : int
        ``Hello.ops``; with 0 the firmware does not say.
    """
    try:
        codes = {int(code) for code in Container.from_bytes(container).ops["code"]}
    except ContainerError:
        return ()
    return tuple(_NAMES.get(code, str(code)) for code in sorted(codes) if ops and not ops >> code & 1)
