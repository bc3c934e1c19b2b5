# Sourced by run_all.sh and run_tests.sh, from the repository's root: sets PYTHON to an interpreter that has the
# requirements. Takes the active virtual or conda environment, else makes .venv. Safe to stop and to start again.

environment=${VIRTUAL_ENV:-${CONDA_PREFIX:-}}
if [ -z "$environment" ]; then
    environment=$PWD/.venv
    if ! "$environment/bin/python" -m pip --version > /dev/null 2>&1; then # missing, or left half-made by a stop
        echo "Making a virtual environment in .venv"
        python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
            echo "$0: Python 3.10 or newer is needed; python3 here is: $(python3 --version 2>&1)" >&2
            exit 1
        }
        python3 -m venv --clear "$environment" || {
            echo "$0: python3 -m venv failed; on Debian and Ubuntu: apt install python3-venv" >&2
            exit 1
        }
    fi
fi
PYTHON=$environment/bin/python
"$PYTHON" -c 'import matplotlib, numpy, torch, torchvision, tqdm' 2> /dev/null ||
    echo "Installing the requirements into $environment (several minutes and up to 6 GB the first time)"
"$PYTHON" -m pip install --quiet --disable-pip-version-check -r requirements.txt "${EXTRA_PACKAGES[@]}" || {
    echo "$0: pip could not install the requirements; start again when the network is back" >&2
    exit 1
}
"$PYTHON" -c 'import torchvision' || {
    echo "$0: torch and torchvision do not fit together; remove both and start again" >&2
    exit 1
}
