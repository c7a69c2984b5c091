#!/bin/sh
# All tests, offline, on a CPU. Further flags go to pytest: sh run_tests.sh -k templates
set -eu
cd "$(dirname "$0")"
BEDSIDE_DEV=1
. ./env.sh
HF_HUB_OFFLINE=1
TOKENIZERS_PARALLELISM=false
export HF_HUB_OFFLINE TOKENIZERS_PARALLELISM
exec python -m pytest "$@"
