"""Many clients at one OpenAI-compatible server: lost answers, answers to another's question, refusals, latency.

    python fastapi_server_demo.py --lora_model outputs-sft --dtype float32 --max_batch 16 --port 8000
    python benchmarks/bench_serving.py --url http://127.0.0.1:8000/v1 --clients 64 --requests 1000 --max_tokens 48

Each question carries an id of its own and is first asked alone; every other one draws with its id as the seed. Under
load every answer is compared with the one that its question got alone. The answers of different questions differ, so
an answer that equals another question's is mixed up. Half of the requests stream. A refusal (429) is asked again after
the time that the server names. With half precision a near tie may fall otherwise in another batch: such an answer is
counted as "other".
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import openai

QUESTIONS = Path(__file__).resolve().parent.parent / "data/eval/heldout_phrasings.jsonl"


class Case(NamedTuple):
    """A question and how it is asked."""

    id: int
    text: str
    temperature: float


class Said(NamedTuple):
    """What came back: thought and answer, completion tokens, and seconds."""

    text: str
    tokens: int
    seconds: float


def cases(count: int) -> list[Case]:
    """`count` questions, each with its id."""
    rows = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    texts = [row["messages"][0]["content"] for row in rows]
    return [Case(i, f"[{i}] {texts[i % len(texts)]}", 0.0 if i % 2 else 0.8) for i in range(count)]


async def ask(client: openai.AsyncOpenAI, model: str, case: Case, max_tokens: int, stream: bool) -> Said:
    """One request."""
    started = time.perf_counter()
    wanted = {
        "model": model, "messages": [{"role": "user", "content": case.text}], "max_tokens": max_tokens,
        "temperature": case.temperature, "seed": case.id,
    }  # fmt: skip
    if not stream:
        reply = await client.chat.completions.create(**wanted)
        message = reply.choices[0].message
        text = (getattr(message, "reasoning", None) or "") + (message.content or "")
        return Said(text, reply.usage.completion_tokens, time.perf_counter() - started)
    text, tokens = "", 0
    usage = {"include_usage": True}
    async for chunk in await client.chat.completions.create(**wanted, stream=True, stream_options=usage):
        for choice in chunk.choices:
            text += (getattr(choice.delta, "reasoning", None) or "") + (choice.delta.content or "")
        tokens = chunk.usage.completion_tokens if chunk.usage else tokens
    return Said(text, tokens, time.perf_counter() - started)


async def load(client, model: str, asked: list[Case], alone: list[str], args) -> tuple[Counter, list[Said]]:
    """All requests, `args.clients` at a time: how they ended, and what came back."""
    ends: Counter = Counter()
    came: list[Said] = []
    queue = list(range(args.requests))[::-1]

    async def one_client() -> None:
        while queue:
            number = queue.pop()
            case = asked[number % len(asked)]
            while True:
                try:
                    said = await ask(client, model, case, args.max_tokens, stream=number % 4 < 2)
                except openai.RateLimitError as error:
                    ends["refused with 429 and asked again"] += 1
                    await asyncio.sleep(float(error.response.headers.get("retry-after", 1)))
                    continue
                except openai.APIError as error:
                    ends[f"lost ({type(error).__name__})"] += 1
                    break
                came.append(said)
                if said.text == alone[case.id]:
                    ends["as alone"] += 1
                else:
                    ends["mixed up" if said.text in alone else "other"] += 1
                break

    await asyncio.gather(*(one_client() for _ in range(args.clients)))
    return ends, came


async def measure(args: argparse.Namespace) -> int:
    """Ask alone, ask under load, and tell; 1 if an answer was lost or mixed up."""
    key = os.environ.get("BEDSIDE_API_KEY") or "none"
    client = openai.AsyncOpenAI(base_url=args.url, api_key=key, max_retries=0, timeout=args.timeout)
    model = (await client.models.list()).data[0].id
    asked = cases(args.questions)
    started = time.perf_counter()
    said = [await ask(client, model, case, args.max_tokens, stream=False) for case in asked]
    alone, seconds = [one.text for one in said], time.perf_counter() - started
    rate = sum(one.tokens for one in said) / seconds
    same = len(alone) - len(set(alone))
    print(f"alone: {len(asked)} questions in {seconds:.1f} s, {rate:.0f} tokens/s; answers equal to another's: {same}")
    started = time.perf_counter()
    ends, came = await load(client, model, asked, alone, args)
    wall = time.perf_counter() - started
    latency = sorted(one.seconds for one in came) or [0.0]
    at = [latency[min(len(latency) - 1, int(len(latency) * share))] for share in (0.5, 0.95)]
    print(f"load: {args.requests} requests of {args.clients} clients in {wall:.1f} s: {dict(ends)}")
    print(f"latency of those answered: p50 {at[0]:.2f} s, p95 {at[1]:.2f} s, longest {latency[-1]:.2f} s")
    print(f"{sum(one.tokens for one in came) / wall:.0f} tokens/s, {len(came) / wall:.1f} answers/s")
    return int(len(came) != args.requests or ends["mixed up"] > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--questions", type=int, default=50, help="different questions, which are asked in turn")
    parser.add_argument("--max_tokens", type=int, default=48)
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds that a client waits for an answer")
    return asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
