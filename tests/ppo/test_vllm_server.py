"""The command that starts a server for PPO: what it serves, what it refuses.

sh run_tests.sh tests/ppo/test_vllm_server.py
"""

import subprocess
import sys
from pathlib import Path

import pytest

from bedside.errors import ConfigError, LineageError
from bedside.ppo import vllm_server

ROOT = Path(__file__).resolve().parents[2]
STARTER = ROOT / "models/starter"


def begun(*argv: str, **environment: str) -> vllm_server.Start:
    return vllm_server.start(list(argv), environment, "python")


def test_a_base_is_served_on_this_machine_with_room_for_the_weights():
    command, environment = begun("--model", "models/starter", "--", "--max-model-len", "2048", PYTHONPATH="there")
    assert command == [
        "python", "-m", "vllm.entrypoints.openai.api_server", "--model", str(STARTER), "--host", "127.0.0.1", "--port",
        "8000", "--worker-extension-cls", "bedside.ppo.vllm_worker.WeightReceiver", "--generation-config", "vllm",
        "--logprobs-mode", "processed_logprobs",
        "--disable-uvicorn-access-log", "--enable-lora", "--max-loras", "1", "--max-cpu-loras", "2", "--max-lora-rank",
        "16", "--max-model-len", "2048",
    ]  # fmt: skip
    assert environment == {
        "PYTHONPATH": f"{ROOT}:there", "VLLM_SERVER_DEV_MODE": "1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_HOST_IP": "127.0.0.1",
    }  # fmt: skip
    assert begun("--model", "models/starter", VLLM_HOST_IP="::1").environment["VLLM_HOST_IP"] == "::1"
    assert "8001" in begun("--model", "owner/model", "--port", "8001", "--host", "localhost").command


@pytest.mark.parametrize(("rank", "room"), [(4, "8"), (16, "16"), (24, "32")])
def test_of_an_adapter_its_base_is_served_with_room_for_its_rank(tmp_path, rank, room):
    from peft import LoraConfig, get_peft_model

    from bedside import lineage, models

    config = LoraConfig(r=rank, target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(models.load_base(str(STARTER)), config).save_pretrained(tmp_path)
    load = {"task": "CAUSAL_LM", "base": lineage.base_record(tmp_path, str(STARTER), None, None)}
    lineage.write(tmp_path, "sft", "adapter", load)
    command = begun("--model", str(tmp_path)).command
    assert command[command.index("--model") + 1] == str(STARTER)
    assert command[command.index("--max-lora-rank") + 1] == room
    command = begun("--model", str(tmp_path), "--max-lora-rank", "64").command
    assert command[command.index("--max-lora-rank") + 1] == "64"
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(LineageError, match="its weights are not those that lineage.json describes"):
        begun("--model", str(tmp_path))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0: weights are taken without a key, .* through a tunnel"),
        (["--", "--host=0.0.0.0"], "--host behind --: give it before --"),
        (["--", "--quantization", "fp8"], "--quantization behind --: the policy's weights come in 16 or 32 bits"),
        (["--", "--worker_extension_cls", "x.Y"], "--worker-extension-cls behind --: it is bedside's"),
    ],
)
def test_what_would_not_serve_ppo_is_refused(flags, told):
    with pytest.raises(ConfigError, match=told):
        begun("--model", "models/starter", *flags)


def test_a_mistake_ends_in_a_sentence():
    def run(*flags: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "bedside.ppo.vllm_server", *flags]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)

    missing = run("--model", "./nowhere")
    assert missing.returncode == 2
    assert (
        missing.stderr
        == "error: --model ./nowhere: no such directory; check the path, or give a hub name: Qwen/Qwen3-4B\n"
    )
    without = run("--model", "models/starter")
    assert without.returncode == 2 and "has no vLLM; run this command with the Python of the" in without.stderr
    assert "unrecognized arguments: --max-model-len" in run("--model", "models/starter", "--max-model-len", "9").stderr
