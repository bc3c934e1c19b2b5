#!/usr/bin/env bash
# Sets up what is missing, then checks the style and runs the tests of both parts.
#
#     bash run_tests.sh                       everything, a few minutes on two cores
#     bash run_tests.sh part1_lstm -k gates   arguments go to pytest; the first may name a part or a test file
set -eo pipefail
cd "$(dirname "$0")"

EXTRA_PACKAGES=(pytest ruff)
source .ci/environment.sh
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check --quiet .

# Each part is its own little world, with modules of the same names: one pytest process a part.
targets=(part1_lstm part2_gan)
if [ -e "${1:-}" ]; then
    targets=("$1")
    shift
fi
status=0
for target in "${targets[@]}"; do
    OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} "$PYTHON" -m pytest "$target" "$@" || status=$?
done
exit "$status"
