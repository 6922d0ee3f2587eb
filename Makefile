# The commands of this project. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help demo test test-all fault check fmt lock fuzz bench venv run-venv system clean
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder
# Without cached bytecode every process that a test starts would compile its modules anew.
export PYTHONDONTWRITEBYTECODE :=
CODE := agent hub tui wire tests examples

help: ## list these commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## a hub, a broker and three nodes run example jobs, live; KEEP=1 leaves them up
	@requirements/system.sh demo
	@requirements/venv.sh run
	@$(BIN)/python -m examples.demo $(if $(KEEP),--keep)

test: system venv ## install what the tests need, run every check and every test but the long ones
	$(PYTEST) -m "not long" tests

test-all: system venv ## the long tests too
	TENDER_API_CASES=400 TENDER_EXAMPLES=5 $(PYTEST) tests

check: venv ## format, lint, types and import arrows
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/pyright
	$(BIN)/lint-imports

fmt: venv ## format the code
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix-only $(CODE)

fault: system venv ## killed at every failpoint and power cut; simulated fleets and planted bugs; ROUNDS=5
	TENDER_FAULT_ROUNDS=$(or $(ROUNDS),5) $(BIN)/python -m pytest -n 2 --dist worksteal -m long tests/fault

fuzz: system venv ## 10,000 requests to a hub, made from its OpenAPI document
	TENDER_API_CASES=10000 $(BIN)/python -m pytest tests/compat/test_openapi.py

bench: system venv ## the figures: latency, throughput, CPU, disk and memory per job
	$(BIN)/python -m tests.bench
	$(BIN)/python -m tests.bench.scale

lock: venv ## write the hash-locked requirements anew
	requirements/lock.sh

system:
	@requirements/system.sh test

venv:
	@requirements/venv.sh dev

run-venv:
	@requirements/venv.sh run

clean: ## remove the virtual environment and what tools left
	rm -rf .venv .work .demo .ruff_cache .hypothesis build dist *.egg-info
