#!/bin/sh
# The checks, then every test on both cores with coverage. Arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
scripts/check.sh
.venv/bin/python -m pytest --numprocesses "${TEST_PROCESSES:-auto}" --dist loadscope --no-loadscope-reorder --cov --cov-report term:skip-covered "$@"
