#!/bin/sh
# ORPO: preferences without a reference model; further flags are passed on (python orpo_training.py --help lists them).
#
#   sh run_orpo.sh                             continues the adapter of `sh run_sft.sh` on data/reward (runs that first if
#                                             it has not been): minutes on two CPU cores, nothing is downloaded
#   MODEL=outputs-sft sh run_orpo.sh           your SFT adapter, merged model or base
#   MODEL=... NPROC=2 sh run_orpo.sh --train_file_dir my/pairs --learning_rate 1e-5
set -eu
cd "$(dirname "$0")"
. ./env.sh

if [ -n "${MODEL:-}" ]; then
    set -- recipes/any_model_orpo.yaml --model_name_or_path "$MODEL" ${TEMPLATE:+--template_name "$TEMPLATE"} "$@"
else
    [ -f outputs-sft/lineage.json ] || sh run_sft.sh
    set -- recipes/starter_orpo.yaml "$@"
fi
if [ "${NPROC:-1}" -gt 1 ]; then
    exec torchrun --nproc_per_node "$NPROC" orpo_training.py "$@"
fi
exec python orpo_training.py "$@"
