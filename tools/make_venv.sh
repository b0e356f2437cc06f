#!/bin/sh
# make_venv.sh DIR: create a virtual environment with a Python that the pinned wheels are for,
# or say what is missing. PYTHON=/path/to/python chooses one.
set -eu

directory=$1
supported='import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] <= (3, 14))'

python=
for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
    if "$candidate" -c "$supported" >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done

if [ -z "$python" ]; then
    echo "rsd needs Python 3.11, 3.12, 3.13 or 3.14; found:" >&2
    for candidate in ${PYTHON:-python3 python}; do
        echo "  $candidate: $("$candidate" --version 2>&1 || true)" >&2
    done
    echo "Install one (Debian, Ubuntu: apt install python3 python3-venv)," >&2
    echo "or name one: make PYTHON=/path/to/python3.12 …" >&2
    exit 1
fi

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
    echo "Python $version ($python) cannot make virtual environments: its module venv or ensurepip" >&2
    echo "is missing. Debian, Ubuntu: apt install python$version-venv" >&2
    exit 1
fi

echo "Python $version: creating $directory"
trap 'rm -rf "$directory"' EXIT
"$python" -m venv --clear "$directory"
trap - EXIT
