# Sourced by run_all.sh and run_tests.sh in the repository's root: sets PYTHON to an interpreter that has the
# requirements and the packages named in EXTRA_PACKAGES. Takes the active virtual or conda environment, else makes
# .venv. With nothing to install it calls no pip and needs no network.

fail() {
    echo "$(basename "$0"): $1" >&2
    exit 1
}

environment=${VIRTUAL_ENV:-${CONDA_PREFIX:-}}
if [ -n "$environment" ]; then
    origin="the active environment $environment"
else
    environment=$PWD/.venv
    origin=".venv"
    python=$environment/bin/python
    if [ ! -e "$python" ]; then python=$environment/Scripts/python.exe; fi # Windows
    if ! "$python" -c 'import pip' 2> /dev/null; then                      # missing, or left half-made by a stop
        echo "Making a virtual environment in .venv"
        python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2> /dev/null ||
            fail "Python 3.10 or newer is needed; python3 here is: $(python3 --version 2>&1 | tail -n 1)"
        python3 -m venv --clear "$environment" ||
            fail "python3 -m venv failed; on Debian and Ubuntu: apt install python3-venv"
    fi
fi
PYTHON=$environment/bin/python
if [ ! -e "$PYTHON" ]; then PYTHON=$environment/Scripts/python.exe; fi # Windows
[ -e "$PYTHON" ] || fail "$origin has no Python; install it there, or deactivate (unset VIRTUAL_ENV CONDA_PREFIX)"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "Python 3.10 or newer is needed; $origin has $("$PYTHON" --version 2>&1)"

missing_packages() { # one line for each requirement that is not installed, or too old
    "$PYTHON" - "${EXTRA_PACKAGES[@]}" << 'PYTHON'
import importlib.metadata
import re
import sys

lines = [line for line in open("requirements.txt").read().split("\n") if line and not line.startswith("#")]
for line in lines + sys.argv[1:]:
    name, _, least = line.partition(">=")
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        version = ""
    numbers = [[int(n) for n in re.findall(r"\d+", text)] for text in (version or "0", least or "0")]
    if not version or numbers[0] < numbers[1]:
        print(line)
PYTHON
}
missing=$(missing_packages | tr '\n' ' ')
if [ -n "$missing" ]; then
    "$PYTHON" -m pip --version > /dev/null 2>&1 ||
        fail "$origin lacks ${missing}and has no pip to install it; add it there, or deactivate"
    echo "Installing $missing into $environment (several minutes and up to 6 GB the first time)"
    log=$(mktemp)
    # PIP_USER and its like would install elsewhere.
    if ! env -u PIP_USER -u PIP_TARGET -u PIP_PREFIX "$PYTHON" -m pip install --quiet --disable-pip-version-check \
        -r requirements.txt "${EXTRA_PACKAGES[@]}" 2> "$log"; then
        cat "$log" >&2
        if grep -qi 'no space left' "$log"; then fail "the disk is full"; fi
        if [ -n "${PIP_CONSTRAINT:-}" ] && grep -qi 'conflict\|constraint' "$log"; then
            fail "PIP_CONSTRAINT=$PIP_CONSTRAINT does not allow $missing; unset it"
        fi
        if grep -qi 'connection\|resolve\|timed out\|no matching distribution\|network' "$log"; then
            fail "pip cannot reach its index; start again when the network is back"
        fi
        fail "pip could not install $missing; see its message above"
    fi
    rm -f "$log"
fi
