# Aliases; the two commands themselves are ./tools/demo and ./tools/test.
.PHONY: help demo test check fix slow golden bench coverage clean
BIN = .venv/bin

help:
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

demo: ## set up and run the main job
	./tools/demo

test: ## set up everything and run all tests
	./tools/test

check: .venv/.smets1-test ## the developer's minute: format, lint, types, quick tests
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary
	$(BIN)/pytest -q -n auto -m "not slow and not sweep and not outsider"

fix: .venv/.smets1-test ## repair what a tool can
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .

slow: .venv/.smets1-test ## fuzzing and long runs only
	$(BIN)/pytest -q -n auto -m "slow or sweep"

golden: .venv/.smets1-test ## write the golden texts of the faces anew, and show what changed
	SMETS1_WRITE_GOLDEN=1 $(BIN)/pytest -q tests/devices/test_faces.py tests/devices/test_rare_pages.py tests/tools/test_live_view.py
	git diff --stat README.md tests/vectors/faces tests/vectors/live

bench: .venv/.smets1-test ## every benchmark, printing its ratios
	for script in tests/benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

coverage: .venv/.smets1-test ## quick tests with coverage
	$(BIN)/pytest -q -n auto -m "not slow and not sweep" --cov --cov-report=term

clean: ## what runs and tools left behind; not .venv
	rm -rf build dist src/*.egg-info .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/.smets1-test: pyproject.toml
	@root="$(CURDIR)"; . tools/bootstrap.sh && make_venv test test
