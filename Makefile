# Each target does its own set-up, so that any of them can be the first command on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
TYPES := build/types
OLDER := build/bench/tflite
OUT ?= docs/results
export TF_CPP_MIN_LOG_LEVEL ?= 3
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: install demo test check bench sbom clean
EXTRAS ?= tflite

install: $(READY)

$(READY): pyproject.toml constraints.txt
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install
	$(BIN)/alledge demo --out demo

test: install
	$(BIN)/python -m pytest -n 2 --dist loadgroup

check: install
	$(BIN)/ruff check .
	rm -rf $(TYPES) && $(BIN)/python -m pip install --quiet --no-deps --target $(TYPES) .
	cd $(TYPES) && ../../$(BIN)/python -m mypy --config-file ../../pyproject.toml --package alledge
	$(BIN)/python -m pytest -q tests/test_docs.py tests/test_architecture.py

# tflite_runtime, LiteRT's predecessor, wants an older NumPy and hence a place of its own; without it its rows are left out.
bench: install
	test -d $(OLDER) || { $(PYTHON) -m venv $(OLDER) && $(OLDER)/bin/pip install --quiet tflite-runtime 'numpy<2'; } || true
	$(BIN)/python benchmarks/all.py --out $(OUT)

# What a device installs, in an environment of its own, listed by CycloneDX's tool in another one (docs/maintenance.md).
sbom:
	rm -rf build/sbom && $(PYTHON) -m venv build/sbom/tool && $(PYTHON) -m venv build/sbom/device
	build/sbom/tool/bin/python -m pip install --quiet --constraint constraints.txt 'cyclonedx-bom>=5'
	build/sbom/device/bin/python -m pip install --quiet --constraint constraints.txt '.[$(EXTRAS)]'
	build/sbom/tool/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	  --output-file build/sbom/alledge.cdx.json build/sbom/device
	@echo build/sbom/alledge.cdx.json

clean:
	rm -rf $(VENV) build demo *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
