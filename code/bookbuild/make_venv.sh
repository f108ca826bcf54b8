#!/bin/sh
# Make the environment .venv from the lock: `PYTHON=/path/to/python make` names an interpreter.
set -eu

suits() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] not in ((3, 12), (3, 13)))' \
        >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        if suits "$PYTHON"; then echo "$PYTHON"; fi
        return
    fi
    versions=${PYENV_ROOT:-$HOME/.pyenv}/versions
    for candidate in .venv/bin/python python3.13 python3.12 python3 \
        "$versions"/3.13*/bin/python "$versions"/3.12*/bin/python; do
        if suits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
}

python=$(find_python)
if [ -z "$python" ]; then
    looked=${PYTHON:-"python3.13, python3.12 and python3 on the PATH, then 3.13 and 3.12 in pyenv's versions"}
    echo "No Python 3.12 or 3.13 with venv found (looked for: $looked). Name one: make PYTHON=/path/to/python3.13" >&2
    exit 1
fi
if [ "$python" != .venv/bin/python ]; then
    echo "Making .venv with $("$python" --version) ..."
    "$python" -m venv --clear .venv
fi
echo "Installing the locked packages (a few minutes the first time) ..."
.venv/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.txt
.venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
