#!/bin/sh
# What needs no database: form, lint, types, the arrows between the packages, dependencies, the page's JavaScript.
set -eu
cd "$(dirname "$0")/.."
.venv/bin/python -m ruff check .
.venv/bin/python -m ruff format --check .
.venv/bin/python -m mypy
.venv/bin/lint-imports --no-logo
.venv/bin/python -m deptry .
if [ -x node_modules/.bin/eslint ] && command -v node >/dev/null 2>&1; then
    node_modules/.bin/eslint
    node_modules/.bin/tsc --project viewer/jsconfig.json
    node --test tests/js/*.test.js
else
    echo "check: node is missing, so the page's JavaScript is not checked" >&2
fi
