# SPDX-License-Identifier: Apache-2.0
"""What every reader of model files shares: limits on foreign bytes, and the mark of what no kernel covers."""

from __future__ import annotations

MAX_RANK = 6
MAX_ELEMENTS = 1 << 28
MAX_NAME_CHARS = 200
# Beyond these a scale is noise, and products of scales would leave the range of float32.
MIN_SCALE, MAX_SCALE = 1e-12, 1e12


class NotCoveredError(Exception):
    """An operator, type or option that no kernel covers; collected by the importer, never seen by a user."""
