#!/bin/sh
# The whole chain: PT, SFT, RM, then DPO, ORPO, PPO and GRPO from the SFT model; each merged and evaluated; a report; one
# answer. What is done already is kept, so the same command goes on after a kill. Further flags are passed on
# (sh run_pipeline.sh --help lists them).
#
#   sh run_pipeline.sh                                  the shipped starter on our data: two CPU cores, nothing downloaded
#   sh run_pipeline.sh --only dpo ppo                   these branches, and what they need
#   sh run_pipeline.sh --dry_run                        the commands, in their order
#   MODEL=Qwen/Qwen3-4B-Base DATA=my/data sh run_pipeline.sh     that model on my/data/{pretrain,sft,reward,grpo,eval};
#                                                       a folder that is missing skips its stages, and this says so
#   MODEL=... TEMPLATE=qwen3 NPROC=2 sh run_pipeline.sh --output_dir outputs-of-mine
set -eu
cd "$(dirname "$0")"
. ./env.sh

# glibc gives the memory of every large tensor back and takes it again, cleared: a tenth of the starter's time. Large
# models keep the usual way, which leaves more memory to others.
if [ -z "${MODEL:-}" ]; then
    export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184
fi

exec python -m bedside.pipeline ${MODEL:+--model_name_or_path "$MODEL"} ${DATA:+--data_dir "$DATA"} \
    ${TEMPLATE:+--template_name "$TEMPLATE"} ${NPROC:+--nproc "$NPROC"} "$@"
