# SPDX-License-Identifier: Apache-2.0
"""Build recipe of ``joulet._core``: the C engine behind cffi's API mode, one module for every Python from 3.10."""

from __future__ import annotations

import re
from pathlib import Path

from cffi import FFI

CSRC = Path("csrc")


def _declarations(header: str) -> str:
    """Return a header as cffi's parser takes it: no preprocessor lines, no attributes, no comments, no asserts."""
    text = re.sub(r"//[^\n]*", "", header)
    text = re.sub(r"(?:[^\n]*\\\n)*[^\n]*\\\n[^\n]*\n", "\n", text) if "\\\n" in text else text
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    text = re.sub(r"_Static_assert\((?:[^()]|\([^()]*\))*\);", "", text)
    return text.replace("JLT_MUST_CHECK ", "")


HEADERS = (
    "core/format.h",
    "joulet.h",
    "core/live.h",
    "core/bands.h",
    "core/prequential.h",
    "core/head.h",
    "core/rls.h",
    "core/refit.h",
    "core/overlap.h",
    "host/batch.h",
    "host/blocks.h",
    "host/fram.h",
    "host/isa.h",
    "host/peak.h",
    "host/profile.h",
    "host/slow_memory.h",
    "core/ledger.h",
    "core/governor.h",
    "core/joule_scale.h",
    "core/nvm_plan.h",
    "front/mfcc.h",
    "sim/optimum.h",
    "sim/value.h",
    "sim/storage.h",
    "sim/supply.h",
    "sim/learn.h",
    "sim/simulate.h",
)

ffibuilder = FFI()
ffibuilder.cdef("\n".join(_declarations((CSRC / name).read_text()) for name in HEADERS))
ffibuilder.set_source(
    "joulet._core",
    "".join(f'#include "{name}"\n' for name in HEADERS),
    sources=sorted(str(path) for path in CSRC.rglob("*.c")),
    include_dirs=[str(CSRC)],
    define_macros=[("JLT_WITH_REFIT", "1"), ("JLT_KEEPS_CALLS", "1")],
    extra_compile_args=["-std=c11", "-O3", "-fno-strict-aliasing", "-ffp-contract=off"],
    libraries=["m"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
