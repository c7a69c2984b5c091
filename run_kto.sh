#!/bin/sh
# KTO: answers labelled good or bad; further flags are passed on (python kto_training.py --help lists them).
#
#   sh run_kto.sh                             continues the adapter of `sh run_sft.sh` on data/reward (runs that first if
#                                             it has not been): minutes on two CPU cores, nothing is downloaded
#   MODEL=outputs-sft sh run_kto.sh           your SFT adapter, merged model or base
#   MODEL=... NPROC=2 sh run_kto.sh --train_file_dir my/labelled --learning_rate 1e-5
set -eu
cd "$(dirname "$0")"
. ./env.sh

if [ -n "${MODEL:-}" ]; then
    set -- recipes/any_model_kto.yaml --model_name_or_path "$MODEL" ${TEMPLATE:+--template_name "$TEMPLATE"} "$@"
else
    [ -f outputs-sft/lineage.json ] || sh run_sft.sh
    set -- recipes/starter_kto.yaml "$@"
fi
if [ "${NPROC:-1}" -gt 1 ]; then
    exec torchrun --nproc_per_node "$NPROC" kto_training.py "$@"
fi
exec python kto_training.py "$@"
