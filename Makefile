# Two commands do everything, set-up included:
#   make demo                     a city in your browser (PORT=8080 another port, DATA=folder a city of your own files)
#   make test                     the whole suite, browser included
.PHONY: demo test check format clean
.DEFAULT_GOAL := help

python := .venv/bin/python

help: ## Say what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

demo: ## Set everything up and show a city (DATA=…, PORT=…, BUILDINGS=…)
	@scripts/setup.sh
	@exec $(python) -m twin demo $(if $(DATA),--data "$(DATA)") $(if $(PORT),--port $(PORT)) $(if $(BUILDINGS),--buildings $(BUILDINGS))

test: ## Set everything up and run the whole suite (ARGS=… for pytest)
	@scripts/setup.sh test
	@scripts/test.sh $(ARGS)

check: ## Lint, types, imports and JavaScript only
	@scripts/setup.sh test
	@scripts/check.sh

format: ## Bring the code into the project's form
	@scripts/setup.sh test
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

clean: ## Stop the private database and remove all that was made here
	@[ ! -x .venv/bin/twin ] || .venv/bin/python -m twin db down
	@rm -rf .venv .twin .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache htmlcov .coverage* node_modules
