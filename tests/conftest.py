# SPDX-License-Identifier: Apache-2.0
"""What every test may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real models and recordings that may lie beside the checkout, or skip."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared data folder is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def models() -> Path:
    """Return the folder of small int8 .tflite files that the repository carries."""
    return ROOT / "tests" / "models"
