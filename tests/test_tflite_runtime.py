# SPDX-License-Identifier: Apache-2.0
"""tflite-runtime 2.14 with numpy 1, in an environment of its own: the same answers through the same seam."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from test_litert_ladder import rung

from joulet.engine.litert import LiteRTEngine
from joulet.errors import MissingDependencyError

STUDY = Path(__file__).resolve().parent / "studies" / "tflite_runtime.py"
_SKIPPED = 77


def without_litert(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: object, **others: object) -> types.ModuleType:
        if name.startswith("ai_edge_litert"):
            raise ImportError(name)
        return real(name, *args, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", refuse)


def test_beside_numpy_2_it_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its first array would be a SystemError."""
    package, module = types.ModuleType("tflite_runtime"), types.ModuleType("tflite_runtime.interpreter")
    module.Interpreter = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tflite_runtime", package)
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", module)
    monkeypatch.setattr(np, "__version__", "2.4.6")
    without_litert(monkeypatch)
    with pytest.raises(MissingDependencyError, match=r"numpy 2\.4\.6: pip install 'numpy<2'"):
        LiteRTEngine(rung(tmp_path, "small", 4))


def test_with_neither_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tflite_runtime", None)
    without_litert(monkeypatch)
    with pytest.raises(MissingDependencyError, match=r"joulet\[tflite\]"):
        LiteRTEngine(rung(tmp_path, "small", 4))


@pytest.mark.slow
def test_a_ladder_in_its_own_environment() -> None:
    pytest.importorskip("ai_edge_litert", reason="needs joulet[tflite]")
    done = subprocess.run([sys.executable, str(STUDY)], capture_output=True, text=True, check=False)
    if done.returncode == _SKIPPED:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["numpy"].startswith("1.")
    assert told["tflite_runtime"] == "2.14.0"
    assert told["differ"] == 0
    assert told["answers"] == 2 * 64 * 4
    assert sum(told["chosen"].values()) > 30
