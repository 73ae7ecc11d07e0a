#!/bin/sh
# What needs no database: form, lint, types, and the arrows between the packages.
set -eu
cd "$(dirname "$0")/.."
.venv/bin/python -m ruff check .
.venv/bin/python -m ruff format --check .
.venv/bin/python -m mypy
.venv/bin/lint-imports --no-logo
.venv/bin/python -m deptry .
