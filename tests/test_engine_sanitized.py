# SPDX-License-Identifier: Apache-2.0
"""The C code under AddressSanitizer and UndefinedBehaviorSanitizer: containers sound and mutated, whole and in tiles."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from band_cases import chain
from c_objects import compile_each, run
from memory_cases import in_halves
from tiny import tiny_quant_graph

from joulet._core import lib
from joulet.container import layout
from joulet.container.isa_plan import with_isa_plan
from joulet.container.write import write_container
from joulet.importers.tflite import load_tflite
from joulet.quant.bare import bare_quant_graph

ROOT = Path(__file__).resolve().parents[1]
CORE = sorted((ROOT / "csrc").rglob("*.c"))
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wmissing-prototypes", "-Wvla", "-Werror")
MUTATIONS = 300
OWN = "NEON" if lib.jlt_host_runs(layout.CODES["Isa"]["NEON"]) else "AVX2"  # this machine's kernels


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the harness built with both sanitizers, or skip where the compiler has none."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("harness")
    program, main = folder / "fuzz_container", ROOT / "tests" / "c" / "fuzz_container.c"
    sanitized = [compiler, "-std=c11", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    empty = subprocess.run([*sanitized, "-x", "c", "-", "-o", str(folder / "empty")], input="int main(void) { return 0; }",
                           check=False, capture_output=True, text=True)  # fmt: skip
    if empty.returncode:
        pytest.skip("the compiler has no sanitizer runtime")
    sources = [(main, ("-DJLT_STANDALONE",)), *((path, ()) for path in CORE)]
    objects = compile_each([*sanitized, "-I", str(ROOT / "csrc")], sources, folder / "objects")
    run([*sanitized, *map(str, objects), "-lm", "-o", str(program)])
    return program


def test_every_op_and_damaged_containers_stay_inside_their_buffers(harness: Path, models: Path, tmp_path: Path) -> None:
    containers = {"tiny": write_container(tiny_quant_graph())}
    for path in sorted(models.glob("*.tflite")):
        graph = load_tflite(path)
        content = write_container(bare_quant_graph(graph, ("w8", "w4", "f32")))
        containers[path.stem] = with_isa_plan(with_isa_plan(content, "ARMV6M"), OWN)
    for seed in range(8):
        planned = with_isa_plan(chain(seed), "ARMV6M", ram_bytes=0)
        containers[f"bands{seed}"] = with_isa_plan(planned, OWN, ram_bytes=0)
        halved = in_halves(chain(seed), "ARMV6M")
        containers[f"memories{seed}"] = in_halves(halved, OWN)
    files = []
    for name, content in containers.items():
        files.append(tmp_path / f"{name}.jlt")
        files[-1].write_bytes(content)
    done = subprocess.run(
        [str(harness), "-n", str(MUTATIONS), *map(str, files)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the core optimised: C11, freestanding headers, every warning an error."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc")
    command = [compiler, "-std=c11", "-O2", "-fno-pic", *WARNINGS, "-I", str(ROOT / "csrc")]
    return compile_each(command, [(path, ()) for path in CORE], tmp_path_factory.mktemp("core"))


def test_the_core_compiles_without_a_warning(objects: list[Path]) -> None:
    assert len(objects) == len(CORE)


def test_the_core_compiles_without_a_warning_unoptimised() -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc")
    run([compiler, "-std=c11", "-O0", *WARNINGS, "-fsyntax-only", "-I", str(ROOT / "csrc"), *map(str, CORE)])


def test_the_core_includes_only_freestanding_headers() -> None:
    """stdint, stdbool, stddef, string.h and our own; math.h in the f32 branches of two kernels and on hosts (sim/) only."""
    allowed = {"<stdint.h>", "<stdbool.h>", "<stddef.h>", "<string.h>"}
    floats = {"lut.c", "softmax_f32.c"}
    # kernels of one instruction set, which are empty for other cores, and the host's own
    rooms = {
        "avx2": {"<immintrin.h>"},
        "avx512vnni": {"<immintrin.h>"},
        "mve": {"<arm_mve.h>"},
        "neon": {"<arm_neon.h>", "<sys/auxv.h>"},
        "host": {"<immintrin.h>", "<arm_neon.h>", "<time.h>"},
    }
    for path in (ROOT / "csrc").rglob("*.[ch]"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("#include <"):
                header = line.split()[1]
                floating = header == "<math.h>" and (path.name in floats or path.parent.name == "sim")
                of_room = header in rooms.get(path.parent.name, set())
                assert header in allowed or floating or of_room, f"{path.name}: {line}"


def test_the_core_has_no_mutable_data(objects: list[Path]) -> None:
    """Every table lands in read-only memory and nothing is remembered between calls: .data and .bss are empty."""
    size = shutil.which("size")
    if size is None:
        pytest.skip("no binutils")
    rows = subprocess.run([size, *map(str, objects)], check=True, capture_output=True, text=True).stdout.splitlines()[
        1:
    ]
    assert len(rows) == len(CORE)
    for row in rows:
        _, data, bss, _, _, name = row.split()
        assert (data, bss) == ("0", "0"), name
