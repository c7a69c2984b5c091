"""Several machines: what run_sft_multinode.sh refuses and starts, and two machines that are this one, through gloo.

sh run_tests.sh tests/distributed/test_multinode.py
"""

import os
import shlex
import subprocess
import sys

import pytest
import yaml

from .launches import ALL, REPO, SHARDED, can, check

# As little as the script needs: nothing of the scheduler or the shell that runs the tests.
BARE = {"PATH": os.environ["PATH"], "DRY_RUN": "1"}
TWO = {"MASTER_ADDR": "node0", "NNODES": "2", "NODE_RANK": "0", "GPUS": "8"}
SLURM = {"SLURM_NNODES": "2", "SLURM_NODEID": "1", "SLURM_GPUS_ON_NODE": "4", "SLURM_JOB_NODELIST": "node[07-08]"}


def run(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess:
    """The script with nothing in its environment but this."""
    return subprocess.run(
        ["sh", "run_sft_multinode.sh", *words], cwd=REPO, env=BARE | environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("name", ["ddp", "fsdp2", "zero3"])
def test_a_configuration_of_several_machines_is_that_of_one_but_for_who_takes_part(name):
    one, several = (
        yaml.safe_load((REPO / f"accelerate/{name}{kind}.yaml").read_text()) for kind in ("", "_multinode")
    )
    apart = {
        key for key in several if key != "deepspeed_config" and several[key] != one.get(key)
    }  # fmt: skip
    assert apart == {"num_machines", "num_processes", "main_process_port"}
    assert several["rdzv_backend"] == "static" and several["same_network"]
    if name == "zero3":
        assert several["deepspeed_config"] == one["deepspeed_config"] | {"deepspeed_multinode_launcher": "standard"}


def test_the_command_of_each_machine_is_printed():
    done = run(TWO | {"NODE_RANK": "1"}, "--output_dir", "my outputs")
    assert done.returncode == 0 and done.stderr == "machine 1 of 2, 8 processes each, meeting at node0:29500 (ddp)\n"
    assert shlex.split(done.stdout) == [
        "accelerate", "launch", "--config_file", "accelerate/ddp_multinode.yaml", "--num_machines", "2",
        "--machine_rank", "1", "--num_processes", "16", "--main_process_ip", "node0", "--main_process_port", "29500",
        "supervised_finetuning.py", "recipes/starter_sft.yaml", "--output_dir", "my outputs",
    ]  # fmt: skip


def test_a_sharded_model_is_asked_no_questions_and_zero_3_takes_no_4_bit_base():
    done = run(TWO | {"SHARDS": "zero3", "MODEL": "Qwen/Qwen3-4B"}, "--max_steps", "5")
    assert shlex.split(done.stdout)[-10:] == [
        "supervised_finetuning.py", "recipes/any_model_sft.yaml", "--model_name_or_path", "Qwen/Qwen3-4B",
        "--eval_file", "None", "--qlora", "False", "--max_steps", "5",
    ]  # fmt: skip
    assert "--eval_file None" in run(TWO | {"SHARDS": "fsdp2"}).stdout
    assert "--qlora" not in run(TWO | {"SHARDS": "fsdp2"}).stdout


def test_what_slurm_set_is_used_and_what_the_user_set_wins(tmp_path):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text('#!/bin/sh\n[ "$*" = "show hostnames node[07-08]" ] && printf "node07\\nnode08\\n"\n')
    scontrol.chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert run(SLURM | path).stderr == "machine 1 of 2, 4 processes each, meeting at node07:29500 (ddp)\n"
    given = {"MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "29511", "GPUS": "2", "NODE_RANK": "0"}
    assert run(SLURM | path | given).stderr == "machine 0 of 2, 2 processes each, meeting at 10.0.0.7:29511 (ddp)\n"


@pytest.mark.parametrize(
    ("listed", "sentence"),
    [
        ("GPU 0: A\nGPU 1: A\n", "machine 0 of 2, 2 processes each, meeting at node0:29500 (ddp)"),
        ("", "error: GPUS is not set and nvidia-smi lists none; set GPUS to the number of processes of each machine"),
    ],
)
def test_without_a_number_the_cards_are_counted(tmp_path, listed, sentence):
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{listed}'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    done = run(TWO | {"GPUS": "", "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.stderr.strip() == sentence


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"NNODES": ""}, "NNODES is not set: the number of machines, such as NNODES=2"),
        ({"NODE_RANK": ""}, "NODE_RANK is not set: 0 on the first machine, 1 on the next, up to NNODES - 1"),
        ({"MASTER_ADDR": ""}, "MASTER_ADDR is not set: the name or address of the machine with NODE_RANK=0"),
        ({"NODE_RANK": "2"}, "NODE_RANK=2: expected 0 to 1, because NNODES=2"),
        ({"NNODES": "two"}, "NNODES=two: expected a whole number"),
        ({"NNODES": "-2"}, "NNODES=-2: expected a whole number"),
        ({"NNODES": "09"}, "NNODES=09: expected a whole number"),
        ({"GPUS": "0"}, "GPUS=0: expected at least 1"),
        ({"MASTER_PORT": "80"}, "MASTER_PORT=80: expected at least 1024"),
        ({"MASTER_PORT": "70000"}, "MASTER_PORT=70000: expected 1024 to 65535"),
        ({"SHARDS": "../accelerate/ddp"}, "SHARDS=../accelerate/ddp: expected ddp, fsdp2 or zero3"),
        ({"SHARDS": "zero9"}, "SHARDS=zero9: expected ddp, fsdp2 or zero3"),
        ({"MASTER_ADDR": "localhost"}, "MASTER_ADDR=localhost: on each machine that is the machine itself"),
        ({"MASTER_ADDR": "node0; date"}, "MASTER_ADDR=node0; date: expected a host name or an address"),
        ({"SLURM_NTASKS_PER_NODE": "8"}, "SLURM starts several tasks on this machine; one is wanted"),
        ({"DRY_RUN": "", "MASTER_ADDR": "no-such-host.invalid"}, "this machine does not know that name"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_started(change, sentence):
    done = run(TWO | change)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and sentence in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddp", "fsdp2", "zero3"] if ALL else ["ddp"])
def test_two_machines_train_the_same_model_as_one_process(alone, argv, tmp_path, name):
    if not can(name):
        pytest.skip("DeepSpeed is not installed")
    two = tmp_path / "two"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", f"accelerate/{name}_multinode.yaml",
              "--num_machines", "2", "--num_processes", "2", "--main_process_ip", "127.0.0.1", "--main_process_port",
              str(20000 + (os.getpid() + 77) % 9000)]  # fmt: skip
    machines = [
        subprocess.Popen(
            [*launch, "--machine_rank", str(rank), "supervised_finetuning.py", *argv("sft", two, 2)], cwd=REPO,
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) for rank in (0, 1)
    ]  # fmt: skip
    said = [machine.communicate(timeout=900)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], said[0][-3000:] + said[1][-3000:]
    # Both tell their losses (--log_on_each_node False: machine 0 alone); machine 0 tells what is trained and saved.
    assert "2 process(es) = 4" in said[0] and f"saved {two}/" in said[0]
    assert "process(es)" not in said[1] and "saved" not in said[1]
    check(two, alone("sft"), name not in SHARDED)
