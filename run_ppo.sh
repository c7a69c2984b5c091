#!/bin/sh
# PPO: the model answers, a reward model says how well; further flags are passed on (python ppo_training.py --help).
#
#   sh run_ppo.sh                             policy of `sh run_sft.sh`, reward model of `sh run_rm.sh` (runs each first if
#                                             it has not been): minutes on two CPU cores, nothing is downloaded
#   MODEL=outputs-sft REWARD=outputs-rm sh run_ppo.sh        your SFT adapter, merged model or base, your reward model
#   MODEL=outputs-sft sh run_ppo.sh --train_file_dir my/exams --reward_funcs accuracy format
#   MODEL=... REWARD=... NPROC=2 sh run_ppo.sh --train_file_dir my/questions --response_length 1000
set -eu
cd "$(dirname "$0")"
. ./env.sh

if [ -n "${MODEL:-}" ]; then
    set -- recipes/any_model_ppo.yaml --model_name_or_path "$MODEL" ${REWARD:+--reward_model_path "$REWARD"} \
        ${TEMPLATE:+--template_name "$TEMPLATE"} "$@"
else
    [ -f outputs-sft/lineage.json ] || sh run_sft.sh
    [ -f outputs-rm/lineage.json ] || sh run_rm.sh
    set -- recipes/starter_ppo.yaml "$@"
fi
if [ "${NPROC:-1}" -gt 1 ]; then
    exec torchrun --nproc_per_node "$NPROC" ppo_training.py "$@"
fi
exec python ppo_training.py "$@"
