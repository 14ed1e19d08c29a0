# SPDX-License-Identifier: Apache-2.0
"""The C code under AddressSanitizer and UndefinedBehaviorSanitizer: containers sound and mutated, whole and in tiles."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from band_cases import chain
from tiny import tiny_quant_graph

from joulet.container.isa_plan import with_isa_plan
from joulet.container.write import write_container
from joulet.importers.tflite import load_tflite
from joulet.quant.bare import bare_quant_graph

ROOT = Path(__file__).resolve().parents[1]
MUTATIONS = 300


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the harness built with both sanitizers, or skip where the compiler has none."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    program = tmp_path_factory.mktemp("harness") / "fuzz_container"
    sources = sorted(str(path) for path in (ROOT / "csrc").rglob("*.c"))
    flags = ["-std=c11", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    main = [str(ROOT / "tests" / "c" / "fuzz_container.c"), "-DJLT_STANDALONE", "-I", str(ROOT / "csrc")]
    built = subprocess.run(
        [compiler, *flags, *main, *sources, "-lm", "-o", str(program)], check=False, capture_output=True, text=True
    )
    if built.returncode and "san" in built.stderr and "error:" not in built.stderr:
        pytest.skip("the compiler has no sanitizer runtime")
    assert built.returncode == 0, built.stderr
    return program


def test_every_op_and_damaged_containers_stay_inside_their_buffers(harness: Path, models: Path, tmp_path: Path) -> None:
    containers = {"tiny": write_container(tiny_quant_graph())}
    for path in sorted(models.glob("*.tflite")):
        graph = load_tflite(path)
        content = write_container(bare_quant_graph(graph, ("w8", "w4", "f32")))
        containers[path.stem] = with_isa_plan(with_isa_plan(content, "ARMV6M"), "AVX2")
    for seed in range(8):
        planned = with_isa_plan(chain(seed), "ARMV6M", ram_bytes=0)
        containers[f"bands{seed}"] = with_isa_plan(planned, "AVX2", ram_bytes=0)
    files = []
    for name, content in containers.items():
        files.append(tmp_path / f"{name}.jlt")
        files[-1].write_bytes(content)
    done = subprocess.run(
        [str(harness), "-n", str(MUTATIONS), *map(str, files)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize("flag", ["-O2", "-O0"])
def test_the_core_compiles_without_a_warning(flag: str) -> None:
    """C11, freestanding headers, every warning an error."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc")
    warnings = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wmissing-prototypes", "-Wvla", "-Werror"]
    sources = sorted(str(path) for path in (ROOT / "csrc").rglob("*.c"))
    done = subprocess.run(
        [compiler, "-std=c11", flag, *warnings, "-fsyntax-only", "-I", str(ROOT / "csrc"), *sources],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


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


def test_the_core_has_no_mutable_data(tmp_path: Path) -> None:
    """Every table lands in read-only memory and nothing is remembered between calls: .data and .bss are empty."""
    compiler, size = shutil.which("gcc"), shutil.which("size")
    if compiler is None or size is None:
        pytest.skip("no gcc or binutils")
    for source in (ROOT / "csrc").rglob("*.c"):
        target = tmp_path / f"{source.stem}.o"
        command = [
            compiler,
            "-std=c11",
            "-O2",
            "-fno-pic",
            "-c",
            "-I",
            str(ROOT / "csrc"),
            str(source),
            "-o",
            str(target),
        ]
        subprocess.run(command, check=True)
        row = subprocess.run([size, str(target)], check=True, capture_output=True, text=True).stdout.splitlines()[1]
        _, data, bss = row.split()[:3]
        assert (data, bss) == ("0", "0"), source.name
