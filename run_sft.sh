#!/bin/sh
# Supervised fine-tuning with QLoRA; further flags are passed on (python supervised_finetuning.py --help lists them).
#
#   sh run_sft.sh                             the shipped starter on data/sft: minutes on two CPU cores, nothing is downloaded;
#                                             ends with a table of held-out questions before and after
#   MODEL=Qwen/Qwen3-4B sh run_sft.sh         that model, with its own chat template (8 GB card and up)
#   MODEL=... TEMPLATE=qwen3 NPROC=2 sh run_sft.sh --train_file_dir my/data --max_length 1024
set -eu
cd "$(dirname "$0")"
. ./env.sh

if [ -n "${MODEL:-}" ]; then
    set -- recipes/any_model_sft.yaml --model_name_or_path "$MODEL" ${TEMPLATE:+--template_name "$TEMPLATE"} "$@"
else
    set -- recipes/starter_sft.yaml "$@"
fi
if [ "${NPROC:-1}" -gt 1 ]; then
    exec torchrun --nproc_per_node "$NPROC" supervised_finetuning.py "$@"
fi
exec python supervised_finetuning.py "$@"
