# Sourced by run_*.sh, from the repository's root: makes .venv once, installs what is missing, and puts it first on PATH.
#
#   BEDSIDE_DEV=1       also install what the tests need
#   PYTHON=python3.12   the interpreter to make .venv with (default: the first of python3.13 ... python3 that is >= 3.11)
#
# Without a GPU the CPU build of torch is taken. When everything is there this costs a few milliseconds.

bedside_python() {
    for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "error: no Python >= 3.11 found; install one, or name it: PYTHON=/path/to/python sh $0" >&2
    return 1
}

bedside_install() {
    python=$(bedside_python) || exit 2
    if [ ! -x .venv/bin/python ]; then
        echo "setting up .venv (once) ..." >&2
        "$python" -m venv .venv || {
            echo "error: $python cannot make a virtual environment; on Debian or Ubuntu: apt-get install python3-venv" >&2
            exit 2
        }
    fi
    pip=".venv/bin/python -m pip --disable-pip-version-check install --quiet"
    if ! .venv/bin/python -c 'import torch' 2>/dev/null; then
        if nvidia-smi -L >/dev/null 2>&1; then
            echo "installing torch for CUDA ..." >&2
            $pip torch==2.13.0 || exit 2
        else
            echo "installing torch for the CPU ..." >&2
            # torch's own index has the small CPU build; where it cannot be reached, whatever pip is set up with.
            $pip --timeout 10 --retries 0 'torch==2.13.0+cpu' --extra-index-url https://download.pytorch.org/whl/cpu \
                2>/dev/null || $pip torch==2.13.0 || exit 2
        fi
    fi
    echo "installing $1 ..." >&2
    $pip -r "$1" || { echo "error: pip could not install $1; see the lines above" >&2; exit 2; }
    echo "$2" >.venv/ready-"$1"
}

bedside_wanted=requirements.txt
if [ -n "${BEDSIDE_DEV:-}" ]; then bedside_wanted=requirements-dev.txt; fi
bedside_sum=$(cat requirements.txt requirements-demo.txt requirements-dev.txt | cksum)
if [ "$(cat .venv/ready-$bedside_wanted 2>/dev/null)" != "$bedside_sum" ]; then
    bedside_install "$bedside_wanted" "$bedside_sum"
fi
PATH="$PWD/.venv/bin:$PATH"
export PATH
