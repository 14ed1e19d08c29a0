# SPDX-License-Identifier: Apache-2.0
"""The kernels of one instruction set in a program of their own: another compiler, emulator or sanitizer than the extension's."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Drawn:
    """Containers and inputs of one of ``isa_cases.CASES``, and what the reference kernels in this process answer."""

    files: tuple[Path, ...]  # a container and its inputs, by turns
    wanted: tuple[tuple[int, str, bytes], ...]  # seed, path, answers

    def differing(self, answers: bytes) -> list[tuple[int, str]]:
        """Return the (seed, path) whose answers, in what tests/c/run_kernels.c wrote, are others."""
        assert len(answers) == sum(len(each) for _, _, each in self.wanted)
        bad, at = [], 0
        for seed, label, each in self.wanted:
            if answers[at : at + len(each)] != each:
                bad.append((seed, label))
            at += len(each)
        return bad


def draw(
    isa: str,
    contents: Mapping[int, bytes],
    tmp_path: Path,
    planned: Callable[[bytes, str], bytes] = with_isa_plan,
    stem: str = "",
) -> Drawn:
    """Write containers and inputs into a folder.

    Parameters
    ----------
    isa
        Instruction set, as in ``layout.CODES["Isa"]``.
    contents
        Containers by seed.
    tmp_path
        The folder.
    planned
        Adds the plan part that a program reads.
    stem
        Begins the files' names.
    """
    files: list[Path] = []
    wanted: list[tuple[int, str, bytes]] = []
    for seed, content in contents.items():
        reference = HostEngine(content, isa="REF")
        arrays = _inputs(reference, seed)
        model, inputs = tmp_path / f"{stem}{seed}_{isa}.jlt", tmp_path / f"{stem}{seed}.bin"
        model.write_bytes(planned(content, isa))
        inputs.write_bytes(b"".join(array[i].tobytes() for i in range(SAMPLES) for array in arrays))
        files += [model, inputs]
        wanted += [
            (seed, label, reference.infer(arrays, path=path).outputs[0].tobytes())
            for path, label in enumerate(reference.path_names)
        ]
    return Drawn(tuple(files), tuple(wanted))


def differing(program: Sequence[str], isa: str, name: str, seeds: range, tmp_path: Path) -> list[tuple[int, str]]:
    """Return the (seed, path) of one of ``isa_cases.CASES`` whose answers differ from the reference kernels' in this process.

    Parameters
    ----------
    program
        Command that runs the program, an emulator before it.
    isa, tmp_path
        As for :func:`draw`.
    """
    return differing_of(program, isa, {seed: CASES[name](seed) for seed in seeds}, tmp_path)


def differing_of(
    program: Sequence[str],
    isa: str,
    contents: Mapping[int, bytes],
    tmp_path: Path,
    planned: Callable[[bytes, str], bytes] = with_isa_plan,
) -> list[tuple[int, str]]:
    """Return the same of any containers by seed."""
    drawn = draw(isa, contents, tmp_path, planned)
    command = [*program, *arguments(isa), *map(str, drawn.files)]
    done = subprocess.run(command, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-4000:]
    return drawn.differing(done.stdout)


def arguments(isa: str) -> list[str]:
    """Return what tests/c/run_kernels.c wants to be told before the files."""
    return [str(layout.CODES["Isa"][isa]), str(SAMPLES)]


def _inputs(engine: HostEngine, seed: int) -> list[Array]:
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(-128, 128, (SAMPLES, *info.shape)).astype(np.int8) for info in engine.inputs]
    for array in arrays:
        array[1] = rng.choice([-128, 127], array[1].shape)
    return arrays
