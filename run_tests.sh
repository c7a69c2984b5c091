#!/bin/sh
# All tests, offline, on a CPU. Further flags go to pytest: sh run_tests.sh -k templates
#
#   sh run_tests.sh             everything but the three below
#   sh run_tests.sh --launch    two processes, as torchrun and accelerate launch start them: DDP, FSDP2, ZeRO, two machines
#   sh run_tests.sh --serve     the live server: makes .serve-venv once (vLLM for the CPU, 3 GB), then starts it on small
#                               models and compares what it reads and writes with training
#   sh run_tests.sh --browser   the pages in a real, headless Chromium (Debian's: apt-get install chromium)
set -eu
cd "$(dirname "$0")"
BEDSIDE_DEV=1
. ./env.sh

serve_pip() {
    # vLLM's dependencies make pip write hundreds of lines that mean nothing when it succeeds.
    .serve-venv/bin/python -m pip --disable-pip-version-check --quiet "$@" >.serve-venv/pip.log 2>&1
}

serve_install() {
    if [ ! -x .serve-venv/bin/python ]; then
        .venv/bin/python -m venv .serve-venv
    fi
    echo "installing requirements-serve-cpu.txt into .serve-venv (once, some minutes) ..." >&2
    # torch's own index has the small CPU build; where it cannot be reached, whatever pip is set up with.
    serve_pip install --timeout 10 --retries 0 'torch==2.13.0+cpu' \
        --extra-index-url https://download.pytorch.org/whl/cpu || true
    if ! serve_pip install -r requirements-serve-cpu.txt; then
        tail -n 20 .serve-venv/pip.log >&2
        echo "error: pip could not install requirements-serve-cpu.txt; see the lines above" >&2
        exit 2
    fi
    # CUDA builds that cannot be imported without a GPU; serving text needs none of them.
    serve_pip uninstall -y torchvision torchaudio torchcodec || true
    echo "$1" >.serve-venv/ready
}

HF_HUB_OFFLINE=1
TOKENIZERS_PARALLELISM=false
export HF_HUB_OFFLINE TOKENIZERS_PARALLELISM
if [ "${1:-}" = --serve ]; then
    shift
    serve_sum=$(cksum <requirements-serve-cpu.txt)
    if [ "$(cat .serve-venv/ready 2>/dev/null)" != "$serve_sum" ]; then
        serve_install "$serve_sum"
    fi
    # The options of pyproject.toml leave tests/serve out.
    exec python -m pytest -o addopts="-q --strict-markers" -o testpaths=tests/serve "$@"
fi
if [ "${1:-}" = --browser ]; then
    shift
    if ! command -v chromium >/dev/null 2>&1; then
        # Where this may install packages, it does; elsewhere it says what is missing.
        { [ "$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq chromium fonts-noto-cjk >/dev/null 2>&1; } ||
        {
            echo "error: the page tests need Chromium; on Debian or Ubuntu: apt-get install chromium fonts-noto-cjk" >&2
            exit 2
        }
    fi
    exec python -m pytest -o addopts="-q --strict-markers" -o testpaths=tests/browser "$@"
fi
if [ "${1:-}" = --launch ]; then
    shift
    OMP_NUM_THREADS=1
    export OMP_NUM_THREADS
    exec python -m pytest tests/distributed "$@"
fi
if [ $# -eq 0 ]; then
    # Files of tests are shared out among the cores, at most four (a worker takes about 1 GB), each computing with one;
    # in the order of tests/conftest.py, which begins with those that take long.
    workers=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
    if [ "$workers" -gt 4 ]; then workers=4; fi
    OMP_NUM_THREADS=1
    export OMP_NUM_THREADS
    set -- -n "$workers" --dist loadfile --no-loadscope-reorder --ignore=tests/distributed
fi
exec python -m pytest "$@"
