#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What run.sh does in the root: `make test` (by suite.py, for the files named here or for all) and `make demo`.
# JOBS is how many processes share the tests.
# Tests of firmware skip in there, as there is no arm-none-eabi-gcc; they say nothing of the machine that runs them.
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
  slice) make .venv/.test && .venv/bin/python tests/aarch64/suite.py --jobs "${JOBS:-1}" "${slice[@]}" && make demo ;;
  whole) make .venv/.test && .venv/bin/python tests/aarch64/suite.py --jobs "${JOBS:-1}" && make demo ;;
esac
