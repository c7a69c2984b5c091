"""The starter, trained for real with five templates: every answer ends by itself, in this process and in vLLM.

sh run_tests.sh --serve -k trained
"""

import json
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

import merge_peft_adapter
import supervised_finetuning
from bedside import engine, generate, lineage, parity

from . import server

NAMES = ("qwen3", "chatml", "vicuna", "alpaca", "deepseek")
MAX_NEW_TOKENS = 64
FACTS = [
    ("发热怎么办？", "多喝水，注意休息。", "发热多因感染。"),
    ("咳嗽三天要看医生吗？", "若有气促，请尽快就诊。", "先看有无气促。"),
    ("What helps against a dry cough?", "Warm drinks and rest.", "A dry cough needs moisture."),
    ("头晕先查什么？", "先测量血压。", "头晕常与血压有关。"),
    ("How do I treat a small burn?", "Cool it with water for ten minutes.", "Cool first."),
    ("可以同时吃两种退烧药吗？", "不要同时服用。", "重复用药会过量。"),
    ("When is a fever an emergency?", "When breathing is hard or the neck is stiff.", "Danger signs matter."),
    ("失眠怎么调理？", "规律作息，睡前少看屏幕。", "先改善习惯。"),
]
SYSTEM = "你是医生，回答简短。"


class Trained(NamedTuple):
    """A merged model, its template's name, and the URL of the server that serves it."""

    name: str
    directory: Path
    url: str


def rows(thinks: bool) -> Iterator[dict]:
    """The facts as rows, each with and without a system turn; with their thoughts for templates that think."""
    for question, answer, thought in FACTS:
        reply = {"role": "assistant", "content": answer, **({"reasoning_content": thought} if thinks else {})}
        turns = [{"role": "user", "content": question}, reply]
        yield {"messages": turns}
        yield {"messages": [{"role": "system", "content": SYSTEM}, *turns]}


def train(name: str, root: Path) -> Path:
    """Train an adapter of models/starter on the facts and merge it: the merged directory."""
    data, adapter, merged = root / "facts.jsonl", root / "adapter", root / "merged"
    lines = [json.dumps(row, ensure_ascii=False) for row in rows(name in ("qwen3", "deepseek"))]
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    supervised_finetuning.main([
        "--model_name_or_path", "models/starter", "--template_name", name, "--train_file_dir", str(data),
        "--output_dir", str(adapter), "--lora_r", "32", "--lora_alpha", "64", "--lora_dropout", "0",
        "--lora_target_modules", "all", "--max_length", "256", "--per_device_train_batch_size", "8",
        "--learning_rate", "5e-3", "--max_steps", "40", "--lr_scheduler_type", "cosine", "--warmup_ratio", "0.1",
        "--gradient_checkpointing", "False", "--bf16", "False", "--save_strategy", "no", "--report_to", "none",
        "--plot_loss", "False", "--logging_steps", "10", "--seed", "7",
    ])  # fmt: skip
    assert merge_peft_adapter.main(["--peft_model_path", str(adapter), "--output_dir", str(merged)]) == 0
    return merged


@pytest.fixture(scope="module", params=NAMES)
def trained(request, tmp_path_factory) -> Iterator[Trained]:
    """A model of each template, served with nothing but its directory and the reasoning parser that it names."""
    root = tmp_path_factory.mktemp(request.param)
    merged = train(request.param, root)
    parser = lineage.read(merged)["template"]["reasoning_parser"]
    flags = ["--reasoning-parser", parser] if parser else []
    with server.serving(merged, root / "server.log", *flags) as url:
        yield Trained(request.param, merged, url)


def questions() -> list[list[dict]]:
    return [[{"role": "user", "content": question}] for question, _, _ in FACTS]


def ask(url: str, model: str, messages: list[dict]) -> dict:
    """The server's choice for one chat, at temperature 0."""
    body = {"model": model, "messages": messages, "max_tokens": MAX_NEW_TOKENS, "temperature": 0}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as reply:
        return json.load(reply)["choices"][0]


def test_every_answer_ends_by_itself_here_and_in_vllm(trained):
    origin = engine.find(str(trained.directory), None)
    chat = engine.load(origin, *engine.text_side(origin))
    answers = chat.answer(questions(), generate.Sampling(max_new_tokens=MAX_NEW_TOKENS, temperature=0))
    assert [answer.finish_reason for answer in answers] == ["stop"] * 8
    assert [answer.answer.strip() for answer in answers] == [answer for _, answer, _ in FACTS]
    with ThreadPoolExecutor(8) as pool:
        choices = list(pool.map(lambda messages: ask(trained.url, str(trained.directory), messages), questions()))
    assert [choice["finish_reason"] for choice in choices] == ["stop"] * 8
    assert [choice["message"]["content"].strip() for choice in choices] == [answer for _, answer, _ in FACTS]
    thoughts = [thought if trained.name in ("qwen3", "deepseek") else None for _, _, thought in FACTS]
    told = [choice["message"]["reasoning"] for choice in choices]
    assert [text.strip() if text else None for text in told] == thoughts


def test_the_server_reads_what_training_wrote(trained, capsys):
    """The saved template and tokenizer, as a user checks an own deployment."""
    assert parity.main(["--url", trained.url, "--tokenizer", str(trained.directory)]) == 0
    assert f"| `{trained.name}` |" in capsys.readouterr().out
