# Sourced by run_all.sh and run_tests.sh in the repository's root: sets PYTHON to an interpreter that has the
# requirements and the packages named in EXTRA_PACKAGES: the active virtual or conda environment's, else that of .venv,
# which is made if need be. With nothing to install it calls no pip and needs no network.

fail() {
    echo "$(basename "$0"): $1" >&2
    exit 1
}

python_of() { if [ -e "$1/Scripts/python.exe" ]; then echo "$1/Scripts/python.exe"; else echo "$1/bin/python"; fi; }

environment=${VIRTUAL_ENV:-${CONDA_PREFIX:-$PWD/.venv}}
PYTHON=$(python_of "$environment")
if [ "$environment" = "$PWD/.venv" ] && ! "$PYTHON" -c 'import pip' 2> /dev/null; then # missing, or left half-made
    echo "Making a virtual environment in .venv"
    python3 -m venv --clear "$environment" || fail "python3 -m venv failed; on Debian and Ubuntu: apt install python3-venv"
    PYTHON=$(python_of "$environment")
fi
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "Python 3.10 or newer is needed in $environment; there is: $("$PYTHON" --version 2>&1)"

if ! "$PYTHON" - "${EXTRA_PACKAGES[@]}" << 'END'; then # 1 if a package is missing or too old
import importlib.metadata, re, sys
lines = [line for line in open("requirements.txt").read().split("\n") if line and not line.startswith("#")]
for name, _, least in (line.partition(">=") for line in lines + sys.argv[1:]):
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        sys.exit(1)
    if [*map(int, re.findall(r"\d+", version))] < [*map(int, re.findall(r"\d+", least))]:
        sys.exit(1)
END
    echo "Installing into $environment (several minutes and up to 6 GB the first time)"
    # PIP_USER and its like would install elsewhere.
    env -u PIP_USER -u PIP_TARGET -u PIP_PREFIX "$PYTHON" -m pip install --quiet --disable-pip-version-check \
        -r requirements.txt "${EXTRA_PACKAGES[@]}" || fail "pip could not install what is needed, see above; start again then"
fi
