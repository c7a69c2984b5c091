#!/bin/sh
# Serve a model directory with vLLM, as it was trained: an OpenAI endpoint on http://127.0.0.1:8000/v1.
#
#   sh vllm_deployment.sh merged-sft                          a merged model (without a name: merged-sft)
#   sh vllm_deployment.sh outputs-sft --port 8001             an adapter, unmerged, on the base it was trained on
#   sh vllm_deployment.sh merged-sft --dry_run                print the command only
#   sh vllm_deployment.sh merged-sft --check                  ask two questions, show the replies, stop
#   VLLM_API_KEY=... sh vllm_deployment.sh merged-sft --host 0.0.0.0 --max-model-len 8192
#
# Template, parsers, precision, length and number of cards are read off the directory and the machine. Every flag of
# vLLM is passed on and wins. vLLM is taken from the Python on PATH, else from .serve-venv; or BEDSIDE_VLLM_PYTHON=...
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
from=$PWD
BEDSIDE_CALLER_PYTHON=$(command -v python || command -v python3 || true)
PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
export BEDSIDE_CALLER_PYTHON PYTHONPATH

has_vllm() {
    "$1" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("vllm") is None)' 2>/dev/null
}

# A machine that only serves needs no environment beside vLLM's.
if [ ! -x "$here/.venv/bin/python" ] && has_vllm "${BEDSIDE_CALLER_PYTHON:-false}"; then
    exec "$BEDSIDE_CALLER_PYTHON" -m bedside.deploy "$@"
fi
cd "$here"
. ./env.sh
cd "$from"
exec python -m bedside.deploy "$@"
