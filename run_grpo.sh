#!/bin/sh
# Training by rewards (GRPO, RLOO); further flags are passed on (python grpo_training.py --help lists them).
#
#   sh run_grpo.sh                            continues the adapter of `sh run_sft.sh` on data/grpo (runs that first if
#                                             it has not been): minutes on two CPU cores, nothing is downloaded
#   MODEL=outputs-sft sh run_grpo.sh          your SFT adapter, merged model or base
#   MODEL=... NPROC=2 sh run_grpo.sh --train_file_dir my/exams --reward_funcs choice format
set -eu
cd "$(dirname "$0")"
. ./env.sh

if [ -n "${MODEL:-}" ]; then
    set -- recipes/any_model_grpo.yaml --model_name_or_path "$MODEL" ${TEMPLATE:+--template_name "$TEMPLATE"} "$@"
else
    [ -f outputs-sft/lineage.json ] || sh run_sft.sh
    set -- recipes/starter_grpo.yaml "$@"
fi
if [ "${NPROC:-1}" -gt 1 ]; then
    exec torchrun --nproc_per_node "$NPROC" grpo_training.py "$@"
fi
exec python grpo_training.py "$@"
