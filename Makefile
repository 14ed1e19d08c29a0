# Two commands do all the set-up: `make demo` and `make test`. Both use .venv in this checkout.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
SHARED ?= ../shared
SOURCES := pyproject.toml setup.py runtime/_core_build.py $(shell find csrc -name '*.[ch]' -o -name '*.def')

.PHONY: demo test lint boards bytes matrix powercut study-kws study-live study-survive study-mfcc study-resnet study-price fuzz link-faults update-cuts wheel clean study-ppk2 study-profile study-cold-start bench-host study-onnx study-one-command study-train study-agreement study-ood bench-gate study-code-size wheels aarch64 legacy study-refit fit-cycles study-edge-exits bench-aarch64 bench-vnni model-vnni fit-bands study-plan study-sparse study-memories fit-accesses

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade pip
	touch $@

$(VENV)/.demo: $(VENV)/.made $(SOURCES)
	$(PY) -m pip install --quiet --editable '.[demo]'
	touch $@

$(VENV)/.test: $(VENV)/.made $(SOURCES)
	$(PY) -m pip install --quiet --editable '.[demo,judges,test,emulator]'
	touch $@ $(VENV)/.demo

demo: $(VENV)/.demo  ## run the main job on recorded sensors and a recorded day of sun
	$(VENV)/bin/joulet demo

test: $(VENV)/.test  ## everything the project claims; some twenty minutes
	$(PY) -m pytest

lint: $(VENV)/.test  ## style, types and generated files
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) tests/check_typing.py
	$(PY) -m joulet.tools.structs --check
	$(PY) -m joulet.tools.format_doc --check

boards: $(VENV)/.test  ## the firmware of every board: flash, RAM, the proven bound on the stack, and their limits
	$(PY) -m joulet.tools.firmware --sizes

bench-host: $(VENV)/.test  ## four models against LiteRT on this core, one thread, and a large convolution against its peak
	$(PY) tests/studies/bench_host.py --shared $(SHARED)

bench-aarch64: $(VENV)/.test  ## instructions of an inference on AArch64 beside LiteRT's, exact in qemu-aarch64, on three cores; fails where ours are more
	$(PY) tests/studies/bench_aarch64.py --shared $(SHARED)

bench-vnni: $(VENV)/.test  ## instructions of an inference with AVX-512 VNNI beside LiteRT's, exact on a PC in Bochs; fails where ours are more
	$(PY) tests/studies/bench_vnni.py --shared $(SHARED) $(if $(OPS),--ops)

model-vnni: $(VENV)/.test  ## cycles of the inner loops with AVX-512 VNNI as llvm-mca models them, of GCC's and clang's code
	$(PY) tests/studies/model_vnni.py

study-kws: $(VENV)/.test  ## bits and exits on ten speaker-disjoint splits of speech commands
	$(PY) tests/studies/kws_exits.py --shared $(SHARED)

study-resnet: $(VENV)/.test  ## ResNet-8 at four bits and mixed on CIFAR-10, without training
	$(PY) tests/studies/resnet_w4.py --shared $(SHARED)

study-sparse: $(VENV)/.test  ## absent blocks of weights: from where on they pay, and what they cost in accuracy; BOARD=virtual_m0plus
	$(PY) tests/studies/sparse.py --shared $(SHARED) --board $(or $(BOARD),virtual_m4)

study-onnx: $(VENV)/.test  ## imported ONNX models against ONNX Runtime on two real networks
	$(PY) tests/studies/onnx_agreement.py --shared $(SHARED)

study-one-command: $(VENV)/.test  ## joulet build from a .tflite or .onnx to a board's image, timed
	$(PY) tests/studies/one_command.py --shared $(SHARED)
study-train: $(VENV)/.test  ## ResNet-8 fine-tuned for eight and four bits at once; needs pip install torch
	$(PY) tests/studies/resnet_train.py --shared $(SHARED)

study-agreement: $(VENV)/.test  ## VWW and AD at fewer bits: agreement on surrogates; VWW=DIR accuracy, AD=DIR areas under the curve
	$(PY) tests/studies/agreement.py --shared $(SHARED) $(if $(VWW),--vww $(VWW)) $(if $(AD),--ad $(AD))

study-ood: $(VENV)/.test  ## calibration errors, and how sure exits are of inputs of another dataset
	$(PY) tests/studies/ood.py --shared $(SHARED)

PRICE := build/study-price

study-price: $(VENV)/.test  ## policies against the optimum: some seven hours of one core; SLICE=1/40 does a part, JOBS=2
	$(PY) tests/studies/price_data.py --shared $(SHARED) --out $(PRICE)
	$(VENV)/bin/joulet sweep $(PRICE)/study.toml --out $(PRICE)/results --resume $(if $(SLICE),--slice $(SLICE)) \
		$(if $(JOBS),--jobs $(JOBS)); code=$$?; test $$code -le 1 || exit $$code; \
	$(PY) tests/studies/price_summary.py $(PRICE)/results && exit $$code


powercut: $(VENV)/.test  ## power cuts at random instructions: four models, three strategies, every path and exit; CUTS=2000 SEED=7
	cd tests && ../$(PY) -u -m powercut.campaign --shared $(abspath $(SHARED)) --cuts $(or $(CUTS),100000) --seed $(or $(SEED),1)

INPUTS ?= 32

matrix: $(VENV)/.test  ## four models, nine virtual and emulated boards, every path and exit: the same bytes; INPUTS=2 for a part
	$(PY) tests/studies/matrix.py --shared $(SHARED) --inputs $(INPUTS)

study-live: $(VENV)/.test  ## the firmware's own loop on a virtual board against the host's simulation of it
	$(PY) tests/studies/live.py --shared $(SHARED)

study-survive: $(VENV)/.test  ## what surviving power cuts costs while power is steady, for each strategy
	$(PY) tests/studies/survive_overhead.py --shared $(SHARED)

study-refit: $(VENV)/.test  ## an exit's head fitted again: to each patient's heart, and where noise has come, by speakers who neither compiled nor judged
	$(PY) tests/studies/refit_patients.py --shared $(SHARED)
	$(PY) tests/studies/refit.py --shared $(SHARED)

study-edge-exits: $(VENV)/.test  ## a cap on power: deciding at each exit against exits fixed before each event
	$(PY) tests/studies/edge_exits.py --shared $(SHARED)

study-mfcc: $(VENV)/.test  ## keyword features from raw clips, in integers, against the given ones
	$(PY) tests/studies/mfcc.py --shared $(SHARED)

bench-gate: $(VENV)/.test  ## instructions, memory and sizes on virtual boards against tests/data/bench_baseline.json; UPDATE=1 rewrites it
	$(PY) tests/studies/bench_gate.py --shared $(SHARED) $(if $(UPDATE),--update)

BOARD ?= virtual_m4

fit-cycles: $(VENV)/.test  ## cycles of a core's kernels, fitted to drawn layers and checked on MLPerf Tiny: BOARD=virtual_m0plus; WRITE=1 keeps it
	$(PY) tests/studies/fit_cycles.py --board $(or $(BOARD),virtual_m4) --shared $(SHARED) $(if $(WRITE),--write)

fit-bands: $(VENV)/.test  ## cycles that bands add on a core, fitted to drawn networks under limits on RAM: BOARD=virtual_m0plus; WRITE=1 keeps it
	$(PY) tests/studies/fit_bands.py --board $(BOARD) $(if $(WRITE),--write)

study-plan: $(VENV)/.test  ## operating points of two models under limits: foretold, built and counted on virtual boards
	$(PY) tests/studies/plan_points.py --shared $(SHARED)

study-memories: $(VENV)/.test  ## two models in two memories on a virtual board: the chosen placement beside others, waits foretold and counted
	$(PY) tests/studies/memories.py --shared $(SHARED)

fit-accesses: $(VENV)/.test  ## how often the M4's kernels access tensors, fitted to drawn layers and checked on MLPerf Tiny; WRITE=1 keeps it
	$(PY) tests/studies/fit_accesses.py --shared $(SHARED) $(if $(WRITE),--write)

study-cold-start: $(VENV)/.test  ## instructions from power-up to the first op on the virtual M4, the container checked before
	$(PY) tests/studies/cold_start.py --shared $(SHARED)

study-code-size: $(VENV)/.test  ## code and constants of the engine for each of the four models on the M4, beside TFLM's
	$(PY) tests/studies/code_size.py --shared $(SHARED)

bytes: $(VENV)/.test  ## every int8 model of the shared corpus against TensorFlow Lite Micro, byte for byte
	$(PY) tests/studies/bytes.py --shared $(SHARED)

fuzz: $(VENV)/.test  ## both parsers of foreign bytes under ASan and UBSan; SECONDS_EACH=60
	$(PY) tests/studies/fuzz.py --seconds $(or $(SECONDS_EACH),60)

link-faults: $(VENV)/.test  ## host and firmware over lines that lose, repeat, change and invent bytes; SEEDS=100
	$(PY) tests/studies/link_faults.py --seeds $(or $(SEEDS),100)

update-cuts: $(VENV)/.test  ## updates cut at random instructions: what boots is the old model or the new one; CUTS=10000 SEED=0
	$(PY) tests/studies/update_cuts.py --cuts $(or $(CUTS),10000) --seed $(or $(SEED),0)

study-ppk2: $(VENV)/.test  ## a simulated PPK2 at 100,000 samples a second: none lost, what the driver takes of a core; SECS=60
	$(PY) tests/studies/ppk2_rate.py --seconds $(or $(SECS),60)
	$(PY) tests/studies/ppk2_rate.py --seconds 10 --ramp

study-profile: $(VENV)/.test  ## energy per exit through a simulated PPK2, markers and clock, against what the virtual board drew
	$(PY) tests/studies/profile_exits.py --shared $(SHARED)

wheel: $(VENV)/.test
	$(PY) -m build

wheels:  ## manylinux wheels for x86_64 and AArch64, tested in their containers; needs Docker or Podman (and binfmt for the latter)
	$(PYTHON) -m venv build/wheels
	build/wheels/bin/python -m pip install --quiet 'cibuildwheel>=2.22'
	build/wheels/bin/cibuildwheel --platform linux --output-dir dist

WHAT ?= slice

aarch64:  ## make test and make demo on AArch64 under qemu-user, in a Debian root under build/; needs root; WHAT=demo, slice or whole, JOBS=processes
	tests/aarch64/run.sh $(WHAT)

legacy: $(VENV)/.test  ## a ladder on tflite-runtime 2.14 and numpy 1 in their own environment, beside ai-edge-litert
	$(PY) tests/studies/tflite_runtime.py

clean:
	rm -rf $(VENV) build dist *.egg-info runtime/*.so
