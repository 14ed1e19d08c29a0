# SPDX-License-Identifier: Apache-2.0
"""Whether an installed joulet stands on its own: run with the folder of test models, away from any checkout.

It lists a board, compiles a model for it, fetches one from the zoo, and runs both; cibuildwheel and tests/test_packaging.py run it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

import numpy as np

import joulet
from joulet.tools.main import main


def check(models: Path) -> None:
    """Raise AssertionError where something is missing."""
    assert "site-packages" in joulet.__file__, f"{joulet.__file__} is a checkout, not an installed wheel"
    for package, name in (
        ("csrc", "joulet.h"),
        ("firmware", "boards/nucleo_l4r5zi/board.toml"),
        ("firmware", "CMakeLists.txt"),
    ):
        assert (files(f"joulet._src.{package}") / name).is_file(), f"{package}/{name} is not in the wheel"
    source = next(iter(sorted(models.glob("*residual*.tflite"))))
    for words in (
        ["boards"],
        ["zoo", "get", "ecg", "-o", "ecg.jlt"],
        ["compile", str(source), "--exits", "off", "--board", "nucleo_l4r5zi", "-o", "m.jlt"],
        ["inspect", "m.jlt"],
    ):
        code = main(words)
        assert code == 0, (words, code)
    for name in ("ecg.jlt", "m.jlt"):
        engine = joulet.HostEngine(Path(name))
        inputs = [np.zeros((2, *info.shape[1:]), info.dtype) for info in engine.inputs]
        reference = joulet.HostEngine(Path(name), isa="REF").infer(inputs).outputs[0]
        np.testing.assert_array_equal(engine.infer(inputs).outputs[0], reference)


if __name__ == "__main__":
    models = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        check(models)
        os.chdir("/")
    print(f"joulet {joulet.__version__} works from {Path(joulet.__file__).parent}")
