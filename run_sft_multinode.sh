#!/bin/sh
# Supervised fine-tuning on several machines: run this on each of them, in a checkout at the same place.
#
#   MASTER_ADDR=node0 NNODES=2 NODE_RANK=0 GPUS=8 MODEL=Qwen/Qwen3-4B sh run_sft_multinode.sh    on node0
#   MASTER_ADDR=node0 NNODES=2 NODE_RANK=1 GPUS=8 MODEL=Qwen/Qwen3-4B sh run_sft_multinode.sh    on the other
#   MODEL=Qwen/Qwen3-4B srun --nodes 2 --ntasks-per-node 1 --gpus-per-node 8 sh run_sft_multinode.sh
#   DRY_RUN=1 MASTER_ADDR=node0 NNODES=2 NODE_RANK=0 GPUS=8 sh run_sft_multinode.sh    prints the command, starts nothing
#
#   MASTER_ADDR  name or address of machine 0, as the others reach it      NNODES     number of machines
#   MASTER_PORT  a free port there (default 29500)                         NODE_RANK  of this one: 0 to NNODES - 1
#   GPUS         processes on each machine (default: what nvidia-smi lists)
#   SHARDS       ddp (default: a whole copy on each GPU), fsdp2 or zero3, which cut the model into shards
#   MODEL, TEMPLATE and further flags: as for run_sft.sh
#
# What SLURM or torchrun put into the environment is used where these are not set. --output_dir must be on a file system that
# every machine sees.
set -eu
cd "$(dirname "$0")"

fail() {
    echo "error: $1" >&2
    exit 2
}

whole_number() {  # NAME VALUE LEAST
    case $2 in
        '' | *[!0-9]* | 0?*) fail "$1=$2: expected a whole number" ;;    # 08 is no number to every shell
    esac
    [ "$2" -ge "$3" ] || fail "$1=$2: expected at least $3"
}

# 1. Who takes part. Nothing is installed, imported or started before all of it is known to be good.
NNODES=${NNODES:-${SLURM_NNODES:-}}
NODE_RANK=${NODE_RANK:-${SLURM_NODEID:-}}
if [ -z "${MASTER_ADDR:-}" ] && [ -n "${SLURM_JOB_NODELIST:-}" ] && command -v scontrol >/dev/null; then
    MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
fi
if [ -z "${GPUS:-}" ]; then
    GPUS=${SLURM_GPUS_ON_NODE:-$(nvidia-smi -L 2>/dev/null | grep -c '^GPU' || true)}
    [ "$GPUS" != 0 ] || fail "GPUS is not set and nvidia-smi lists none; set GPUS to the number of processes of each machine"
fi
[ -n "$NNODES" ] || fail "NNODES is not set: the number of machines, such as NNODES=2"
[ -n "$NODE_RANK" ] || fail "NODE_RANK is not set: 0 on the first machine, 1 on the next, up to NNODES - 1"
[ -n "${MASTER_ADDR:-}" ] || fail "MASTER_ADDR is not set: the name or address of the machine with NODE_RANK=0"
MASTER_PORT=${MASTER_PORT:-29500}
SHARDS=${SHARDS:-ddp}
whole_number NNODES "$NNODES" 1
whole_number NODE_RANK "$NODE_RANK" 0
whole_number GPUS "$GPUS" 1
whole_number MASTER_PORT "$MASTER_PORT" 1024
[ "$NODE_RANK" -lt "$NNODES" ] || fail "NODE_RANK=$NODE_RANK: expected 0 to $((NNODES - 1)), because NNODES=$NNODES"
[ "$MASTER_PORT" -le 65535 ] || fail "MASTER_PORT=$MASTER_PORT: expected 1024 to 65535"
case $SHARDS in
    ddp | fsdp2 | zero3) ;;
    *) fail "SHARDS=$SHARDS: expected ddp, fsdp2 or zero3" ;;
esac
if [ "${SLURM_NTASKS_PER_NODE:-1}" != 1 ] || [ "${SLURM_LOCALID:-0}" != 0 ]; then
    fail "SLURM starts several tasks on this machine; one is wanted, which starts the processes: --ntasks-per-node 1"
fi
case $MASTER_ADDR in
    localhost | 127.* | ::1)
        [ "$NNODES" -eq 1 ] || [ -n "${SAME_HOST:-}" ] ||
            fail "MASTER_ADDR=$MASTER_ADDR: on each machine that is the machine itself; give the name of machine 0 \
(SAME_HOST=1 if all of them are this one, for a trial)"
        ;;
    -* | *[!A-Za-z0-9.:_-]*) fail "MASTER_ADDR=$MASTER_ADDR: expected a host name or an address" ;;
esac
if [ -z "${DRY_RUN:-}" ] && command -v getent >/dev/null && ! getent hosts "$MASTER_ADDR" >/dev/null; then
    fail "MASTER_ADDR=$MASTER_ADDR: this machine does not know that name; use the address, or mend /etc/hosts"
fi

# 2. What runs: the recipe of run_sft.sh. A sharded model cannot answer questions, and ZeRO-3 takes no 4-bit base.
case $SHARDS in
    fsdp2) set -- --eval_file None "$@" ;;
    zero3) set -- --eval_file None --qlora False "$@" ;;
esac
if [ -n "${MODEL:-}" ]; then
    set -- recipes/any_model_sft.yaml --model_name_or_path "$MODEL" ${TEMPLATE:+--template_name "$TEMPLATE"} "$@"
else
    set -- recipes/starter_sft.yaml "$@"
fi
set -- accelerate launch --config_file "accelerate/${SHARDS}_multinode.yaml" --num_machines "$NNODES" \
    --machine_rank "$NODE_RANK" --num_processes "$((NNODES * GPUS))" --main_process_ip "$MASTER_ADDR" \
    --main_process_port "$MASTER_PORT" supervised_finetuning.py "$@"
echo "machine $NODE_RANK of $NNODES, $GPUS processes each, meeting at $MASTER_ADDR:$MASTER_PORT ($SHARDS)" >&2
if [ -n "${DRY_RUN:-}" ]; then
    for word in "$@"; do
        case $word in
            '' | *[!A-Za-z0-9_./:=,@%+-]*) printf "'%s' " "$(printf '%s' "$word" | sed "s/'/'\\\\''/g")" ;;
            *) printf '%s ' "$word" ;;
        esac
    done
    echo
    exit 0
fi
. ./env.sh
exec "$@"
