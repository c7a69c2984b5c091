"""Serve a base model, an adapter or a merged model to OpenAI clients, on a machine without vLLM.

    python fastapi_server_demo.py --lora_model outputs-sft --port 8000
    python fastapi_server_demo.py --base_model Qwen/Qwen3-4B --lora_model outputs-sft --load_in_4bit True

It answers several chats in one batch, holds others in a queue and refuses what is over it. Whoever can reach it may
use it: it listens to this machine only, unless --host says otherwise and BEDSIDE_API_KEY holds a key.
"""

import os

from bedside import cli, errors, logs
from bedside.serving import flags
from bedside.serving.flags import ServingArguments


def main(argv: list[str] | None = None) -> int:
    # 1. What is asked for, and whether the port is free, before anything heavy is imported.
    parsed = cli.parse((ServingArguments,), argv, description=__doc__)
    logs.setup()
    flags.check(parsed)
    args = parsed[ServingArguments]
    if args.only_cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        from bedside.serving import server
    except ModuleNotFoundError as error:
        raise errors.ConfigError(f"{error.name} is not installed; run: pip install -r requirements-demo.txt") from None
    place = server.bound(args.host, args.port)

    # 2. Which model that is: base and precision as in the adapter's training, tokenizer and template as saved.
    from bedside import engine

    origin = engine.asked_for(args, parsed.given)
    loaded = engine.settle(origin, args, parsed.given, args.max_batch).load()

    # 3. One thread answers up to --max_batch chats at once.
    from bedside.answers import Sampling
    from bedside.serving import app
    from bedside.serving.batched import BatchedEngine

    batched = BatchedEngine(
        loaded, max_batch=args.max_batch, max_waiting=args.max_waiting, max_tokens=args.max_concurrent_tokens
    )
    if batched.scheduler.max_batch < args.max_batch:
        logs.warn("this model's cache cannot take in rows while others run: it answers one chat at a time")

    # 4. The server, until Ctrl-C (status 0) or until the model breaks (status 1).
    settings = app.Settings(
        model=args.served_model_name or loaded.name,
        defaults=Sampling(args.max_new_tokens, args.temperature, args.top_p, args.top_k, args.repetition_penalty),
        max_tokens_limit=args.max_tokens_limit,
        system=args.system_prompt,
        enable_thinking=args.enable_thinking,
        key=flags.api_key(),
        max_bytes=args.max_request_kib << 10,
        timeout=args.request_timeout,
    )
    return server.run(app.make(batched, settings), batched, place, app.greeting(settings, place.getsockname()))


if __name__ == "__main__":
    errors.run_command(main)
