#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What run.sh does in the root: `make demo` and `make test`, the latter for the files named here or for all.
# Tests of firmware skip in there, as there is no arm-none-eabi-gcc; they say nothing of the machine that runs them. Tests that
# bound time are left out (-m 'not wall_clock'): an emulator keeps to no such bound.
set -euo pipefail
cd /joulet
[[ $(uname -m) == aarch64 ]] || { echo "this is $(uname -m), not aarch64" >&2; exit 2; }
slice=(
  tests/test_kernels.py tests/test_isa_host.py tests/test_engine.py tests/test_container.py tests/test_passes.py
  tests/test_quant_nested.py tests/test_session.py tests/test_meters_sysfs.py tests/test_edge.py tests/test_knobs.py
  tests/test_run_metered.py tests/test_litert_ladder.py
)
case ${1:-slice} in
  demo) make demo ;;
  # the test environment first: it holds what the demo needs, and the engine is compiled once
  slice) make .venv/.test && make demo && PYTEST_ADDOPTS="-q -m 'not wall_clock' ${slice[*]}" make test ;;
  whole) make .venv/.test && make demo && PYTEST_ADDOPTS="-m 'not wall_clock'" make test ;;
esac
