# SPDX-License-Identifier: Apache-2.0
"""Outside programs that judge ours: skip where one is missing, fail where CI lacks it. And what a call complains of."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

import pytest

from joulet.errors import JouletError


def need_package(module: str, distribution: str) -> Any:
    """Return an installed module; without it skip, or fail in CI, which installs the extra ``test``."""
    try:
        return importlib.import_module(module)
    except ImportError:
        if os.environ.get("CI"):
            pytest.fail(f"CI lacks {distribution} (pip install 'joulet[test]')")
        pytest.skip(f"needs {distribution} (pip install 'joulet[test]')")


def complaint(call: Callable[[], object]) -> str:
    """Return what a call complains of; empty when it does not. Any error but ours is a failure."""
    try:
        call()
    except JouletError as error:
        return str(error)
    return ""
