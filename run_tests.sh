#!/usr/bin/env bash
# Sets up what is missing, then checks the style and runs all tests, in about 4 minutes on two cores.
#
#     bash run_tests.sh                       everything
#     bash run_tests.sh part1_lstm -k resume  arguments go to pytest; the first may name a folder, a file, a test
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
set -eo pipefail
cd "$(dirname "$(readlink -f "$0")")"

EXTRA_PACKAGES=(pytest ruff)
source .ci/environment.sh
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check --quiet .

# The parts have modules of the same names, so each has a pytest process of its own.
tests() {
    local code=0
    OMP_NUM_THREADS=1 "$PYTHON" -m pytest "$@" || code=$?
    if [ $code -eq 5 ] && [ $# -gt 1 ]; then return 0; fi # -k may choose no test of a folder
    return $code
}
if [ -e "${1%%::*}" ]; then # such as part1_lstm/tests/test_cells.py::test_name
    tests "$@"
    exit
fi
log=$(mktemp)
trap 'rm -f "$log"; kill $(jobs -p) 2> /dev/null || true' EXIT
tests part2_gan "$@" > "$log" 2>&1 & # the longest, beside the others
status=0
tests part1_lstm "$@" || status=$?
tests .ci "$@" || status=$?
wait $! || status=$?
cat "$log"
exit "$status"
