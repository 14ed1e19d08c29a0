# SPDX-License-Identifier: Apache-2.0
"""The kernels of one instruction set in a program of their own: another compiler, emulator or sanitizer than the extension's."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from c_objects import compile_each, run
from isa_cases import CASES

from joulet.container import layout
from joulet.container.isa_plan import with_isa_plan
from joulet.engine.host import HostEngine
from joulet.engine.seam import Array

ROOT = Path(__file__).resolve().parents[1]
CSRC = ROOT / "csrc"
SAMPLES = 2


def build(
    to: Path, compiler: Sequence[str], flags: Sequence[str] = (), plain: str | None = None, more: Sequence[str] = ()
) -> Path:
    """Compile csrc and tests/c/run_kernels.c.

    Parameters
    ----------
    to
        The program.
    compiler
        Command and what every file needs.
    flags
        More of it, before ``-lm``.
    plain
        A room of csrc/kernels whose intrinsics come from tests/c/plain; unoptimised, as unrolling them takes compilers long.
    more
        Further files of tests/c.
    """
    rooms = ("core", "kernels")
    sources = [path for room in rooms for path in sorted((CSRC / room).rglob("*.c"))]
    sources += [ROOT / "tests" / "c" / name for name in ("run_kernels.c", *more)]
    in_plain_c = ("-I", str(ROOT / "tests" / "c" / "plain"), "-DJLT_WITHOUT_TARGET", "-O0")
    common = [*compiler, "-std=gnu11", "-fno-strict-aliasing", "-I", str(CSRC), *flags]
    options = [in_plain_c if path.parent.name == plain else () for path in sources]
    objects = compile_each(common, list(zip(sources, options, strict=True)), to.parent / f"{to.name}.o")
    run([*compiler, *flags, *map(str, objects), "-lm", "-o", str(to)])
    return to


def differing(program: Sequence[str], isa: str, name: str, seeds: range, tmp_path: Path) -> list[tuple[int, str]]:
    """Return the (seed, path) whose answers differ from the reference kernels' in this process.

    Parameters
    ----------
    program
        Command that runs the program, an emulator before it.
    isa
        Instruction set, as in ``layout.CODES["Isa"]``.
    name
        One of ``isa_cases.CASES``.
    """
    return differing_of(program, isa, {seed: CASES[name](seed) for seed in seeds}, tmp_path)


def differing_of(
    program: Sequence[str],
    isa: str,
    contents: Mapping[int, bytes],
    tmp_path: Path,
    planned: Callable[[bytes, str], bytes] = with_isa_plan,
) -> list[tuple[int, str]]:
    """Return the same of containers by seed; ``planned`` adds the plan part that the program reads."""
    command = [*program, str(layout.CODES["Isa"][isa]), str(SAMPLES)]
    wanted: list[tuple[int, str, bytes]] = []
    for seed, content in contents.items():
        reference = HostEngine(content, isa="REF")
        arrays = _inputs(reference, seed)
        model, inputs = tmp_path / f"{seed}.jlt", tmp_path / f"{seed}.bin"
        model.write_bytes(planned(content, isa))
        inputs.write_bytes(b"".join(array[i].tobytes() for i in range(SAMPLES) for array in arrays))
        command += [str(model), str(inputs)]
        wanted += [
            (seed, label, reference.infer(arrays, path=path).outputs[0].tobytes())
            for path, label in enumerate(reference.path_names)
        ]
    done = subprocess.run(command, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-4000:]
    answers = memoryview(done.stdout)
    assert len(answers) == sum(len(each) for _, _, each in wanted)
    bad = []
    for seed, label, each in wanted:
        if answers[: len(each)] != each:
            bad.append((seed, label))
        answers = answers[len(each) :]
    return bad


def _inputs(engine: HostEngine, seed: int) -> list[Array]:
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(-128, 128, (SAMPLES, *info.shape)).astype(np.int8) for info in engine.inputs]
    for array in arrays:
        array[1] = rng.choice([-128, 127], array[1].shape)
    return arrays
