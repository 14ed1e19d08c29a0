# SPDX-License-Identifier: Apache-2.0
"""What tests with boards need: a compiler, emulators, and containers of the small models."""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from thumb import need_tools

import joulet
from joulet.firmware.board_files import firmware_facts

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "tests" / "models"


def need_board() -> None:
    """Skip where compiler or emulator are missing; in CI that is a failure."""
    need_tools()


def need_qemu(board: str = "qemu_mps2_an386") -> None:
    """Skip where the board's compiler or QEMU are missing; in CI that is a failure."""
    need_tools()
    cpu = firmware_facts(board).architecture
    for program, package in ((cpu.gcc, cpu.gcc_packages), (cpu.qemu, cpu.qemu_package)):
        if shutil.which(program) is None:
            if os.environ.get("CI"):
                pytest.fail(f"CI lacks {program}")
            pytest.skip(f"needs {program} (Debian: {package})")


@functools.cache
def samples(name: str, count: int = 96) -> np.ndarray:
    """Return random inputs of a small model, in its type."""
    info = joulet.HostEngine(joulet.compile_model(MODELS / f"{name}.tflite", exits="off").container).inputs[0]
    limits = np.iinfo(np.dtype(info.dtype.str))
    rng = np.random.default_rng(3)
    return rng.integers(limits.min, limits.max, (count, *info.shape[1:]), info.dtype.str, endpoint=True)


@functools.cache
def container(name: str = "residual_int8") -> bytes:
    """Return a small model with two exits, calibrated on random inputs."""
    x = samples(name)
    labels = np.random.default_rng(4).integers(0, 4, len(x))
    return joulet.compile_model(MODELS / f"{name}.tflite", data={"input_0": x, "labels": labels}, exits=2).container


@functools.cache
def plain_container(name: str) -> bytes:
    """Return a small model as it is: one exit, all integer precisions."""
    return joulet.compile_model(MODELS / f"{name}.tflite", exits="off").container
