#!/bin/sh
# Direct preference optimisation; further flags are passed on (python dpo_training.py --help lists them).
#
#   sh run_dpo.sh                             continues the adapter of `sh run_sft.sh` on data/reward (runs that first if
#                                             it has not been): minutes on two CPU cores, nothing is downloaded
#   MODEL=outputs-sft sh run_dpo.sh           your SFT adapter, merged model or base
#   MODEL=... NPROC=2 sh run_dpo.sh --train_file_dir my/pairs --loss_type ipo
set -eu
cd "$(dirname "$0")"
. ./env.sh

if [ -n "${MODEL:-}" ]; then
    set -- recipes/any_model_dpo.yaml --model_name_or_path "$MODEL" ${TEMPLATE:+--template_name "$TEMPLATE"} "$@"
else
    [ -f outputs-sft/lineage.json ] || sh run_sft.sh
    set -- recipes/starter_dpo.yaml "$@"
fi
if [ "${NPROC:-1}" -gt 1 ]; then
    exec torchrun --nproc_per_node "$NPROC" dpo_training.py "$@"
fi
exec python dpo_training.py "$@"
