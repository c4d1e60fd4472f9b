# Two commands do all the set-up: `make demo` opens the workbench, `make test` passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Two more than there are cores, since tests also wait for sandboxes and terminals; four at most.
WORKERS ?= $(shell cores=$$(nproc); [ $$cores -lt 2 ] && echo 3 || echo 4)

# The tests start hundreds of processes; each would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test coverage gpu proof clean

demo: $(STAMP)
	$(BIN)/sekft tui --demo

proof: $(STAMP)
	$(BIN)/sekft demo --run

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal

# About twice the time of the tests. Those of full disks may fail, since coverage writes there, too.
coverage: $(STAMP)
	$(BIN)/python -m pip install --disable-pip-version-check 'coverage>=7.10'
	$(BIN)/coverage erase
	-$(BIN)/coverage run -m pytest -q --numprocesses $(WORKERS) --dist worksteal
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# All that needs a card, on the card: gpu/gpu.json, and gpu/gpu.md for the README. Without one it
# says so in a line and ends with status 2.
gpu: $(STAMP)
	$(BIN)/python -m tests.gpu

# The constraints hold the torch that CI uses. With an NVIDIA card, or with TORCH_CUDA=1, torch is
# left to pip instead, which then brings the CUDA build; a torch already in the environment stays.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	sh -c 'if [ -n "$$TORCH_CUDA" ] || command -v nvidia-smi >/dev/null 2>&1; \
	  then grep -v "^torch==" constraints.txt; else cat constraints.txt; fi' > $(VENV)/constraints.txt
	$(BIN)/python -m pip install --disable-pip-version-check -c $(VENV)/constraints.txt -e '.[gpu,sandbox,dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) .cache demo
