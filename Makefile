# Two commands do all the set-up: `make demo` and `make test`. Both use .venv in this checkout.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
SHARED ?= ../shared
SOURCES := pyproject.toml setup.py runtime/_core_build.py $(shell find csrc -name '*.[ch]' -o -name '*.def')

.PHONY: demo test lint boards bytes study-kws study-resnet study-price fuzz wheel clean

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

test: $(VENV)/.test  ## everything the project claims, in under five minutes
	$(PY) -m pytest

lint: $(VENV)/.test  ## style, types and generated files
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) tests/check_typing.py
	$(PY) -m joulet.tools.structs --check
	$(PY) -m joulet.tools.format_doc --check

boards: $(VENV)/.test  ## the firmware of every board: flash, RAM, the proven bound on the stack, and their limits
	$(PY) -m joulet.tools.firmware --sizes

study-kws: $(VENV)/.test  ## bits and exits on ten speaker-disjoint splits of speech commands
	$(PY) tests/studies/kws_exits.py --shared $(SHARED)

study-resnet: $(VENV)/.test  ## ResNet-8 at four bits on CIFAR-10
	$(PY) tests/studies/resnet_w4.py --shared $(SHARED)

PRICE := build/study-price

study-price: $(VENV)/.test  ## policies against the optimum: some seven hours of one core; SLICE=1/40 does a part, JOBS=2
	$(PY) tests/studies/price_data.py --shared $(SHARED) --out $(PRICE)
	$(VENV)/bin/joulet sweep $(PRICE)/study.toml --out $(PRICE)/results --resume $(if $(SLICE),--slice $(SLICE)) \
		$(if $(JOBS),--jobs $(JOBS)); code=$$?; test $$code -le 1 || exit $$code; \
	$(PY) tests/studies/price_summary.py $(PRICE)/results && exit $$code

bytes: $(VENV)/.test  ## every int8 model of the shared corpus against TensorFlow Lite Micro, byte for byte
	$(PY) tests/studies/bytes.py --shared $(SHARED)

fuzz: $(VENV)/.test  ## both parsers of foreign bytes under ASan and UBSan; SECONDS_EACH=60
	$(PY) tests/studies/fuzz.py --seconds $(or $(SECONDS_EACH),60)

wheel: $(VENV)/.test
	$(PY) -m build

clean:
	rm -rf $(VENV) build dist *.egg-info runtime/*.so
