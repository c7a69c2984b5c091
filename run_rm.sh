#!/bin/sh
# Reward modelling with LoRA; further flags are passed on (python reward_modeling.py --help lists them).
#
#   sh run_rm.sh                              the shipped starter on data/reward: minutes on two CPU cores, nothing is downloaded;
#                                             ends with how held-out pairs are ranked
#   MODEL=outputs-sft sh run_rm.sh            that model: a base, a merged model, or the adapter of an SFT, which is kept
#   MODEL=Qwen/Qwen3-4B TEMPLATE=qwen3 NPROC=2 sh run_rm.sh --train_file_dir my/pairs --max_length 1024
set -eu
cd "$(dirname "$0")"
. ./env.sh

if [ -n "${MODEL:-}" ]; then
    set -- recipes/any_model_rm.yaml --model_name_or_path "$MODEL" ${TEMPLATE:+--template_name "$TEMPLATE"} "$@"
else
    set -- recipes/starter_rm.yaml "$@"
fi
if [ "${NPROC:-1}" -gt 1 ]; then
    exec torchrun --nproc_per_node "$NPROC" reward_modeling.py "$@"
fi
exec python reward_modeling.py "$@"
