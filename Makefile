.DEFAULT_GOAL := help
.PHONY: help up test check bench faults quality format wheel clean
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

help: ## Show this menu
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "smartcare needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

up: $(VENV)/installed ## Start everything with a simulated town; prints the page's address
	@exec $(BIN)/smartcare up

test: $(VENV)/installed ## Run all tests (real broker, database, browser)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: $(VENV)/installed ## Style, types and import contracts
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

bench: $(VENV)/installed ## Measure; prints the figures, writes build/bench.json (PARTS="ingest store …", SMOKE=1: only see that it works, LONG=1)
	@$(BIN)/python -c 'import mq_bridge, matplotlib' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks.run $(if $(SMOKE),--smoke) $(if $(LONG),--long) $(PARTS)

quality: $(VENV)/installed ## Measure the rules on the data in SMARTCARE_DATA; writes build/quality.json and docs/quality.md (PARTS="dodgers …")
	@$(BIN)/python -c 'import matplotlib' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[quality]'
	$(BIN)/python -m benchmarks.quality $(PARTS)

faults: $(VENV)/installed ## Break everything and judge by ledgers, 8 min, writes build/faults.json (SMOKE=1, LONG=1, SEED=n)
	$(BIN)/python -m tests.faults $(if $(SMOKE),--smoke) $(if $(LONG),--long) $(if $(SEED),--seed $(SEED))

format: $(VENV)/installed ## Put the code into shape
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .

wheel: $(VENV)/installed ## Build the wheel, install it elsewhere, start each command
	rm -rf build/wheel && $(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps -w build/wheel .
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt build/wheel/*.whl
	cd build/wheel && for c in "" up worker api gateway "gateway run" "gateway status" "gateway try" "gateway device" "gateway source" "gateway mount" sim platform migrate "register import" "register claim" "register swap" "register swap-gateway" \
	  "endpoint add" "endpoint try" "endpoint subscribe" "endpoint unsubscribe" \
	  "endpoint backfill" "endpoint reconcile" "endpoint rotate" link "account add" "account password" token score maintain erase backup restore report acceptance "evidence verify"; do venv/bin/smartcare $$c --help >/dev/null || exit 1; done
	cd build/wheel && venv/bin/python -c 'from ingest.store.schema import migrations; assert migrations(), "no SQL in the wheel"'

clean: ## Remove the virtual environment and build results (not the data in var/)
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
