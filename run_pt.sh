#!/bin/sh
# Continued pretraining on plain documents; further flags are passed on (python pretraining.py --help lists them).
#
#   sh run_pt.sh                              the shipped starter on data/pretrain: minutes on two CPU cores, nothing is
#                                             downloaded; ends with the perplexity of held-out documents before and after
#   MODEL=Qwen/Qwen3-4B-Base sh run_pt.sh     that model, with QLoRA (8 GB card and up)
#   MODEL=... NPROC=2 sh run_pt.sh --train_file_dir my/documents --block_size 4096
set -eu
cd "$(dirname "$0")"
. ./env.sh

if [ -n "${MODEL:-}" ]; then
    set -- recipes/any_model_pt.yaml --model_name_or_path "$MODEL" "$@"
else
    set -- recipes/starter_pt.yaml "$@"
fi
if [ "${NPROC:-1}" -gt 1 ]; then
    exec torchrun --nproc_per_node "$NPROC" pretraining.py "$@"
fi
exec python pretraining.py "$@"
