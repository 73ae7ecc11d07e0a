#!/bin/sh
# The checks, then every test on both cores. Arguments go to pytest. COVERAGE=1 measures which lines ran, which takes a
# quarter longer.
set -eu
cd "$(dirname "$0")/.."
scripts/check.sh
.venv/bin/python -m pytest --numprocesses "${TEST_PROCESSES:-auto}" --dist loadscope --no-loadscope-reorder ${COVERAGE:+--cov --cov-report term:skip-covered} "$@"
