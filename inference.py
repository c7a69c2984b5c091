"""Answer questions with a base model, an adapter, a merged model or a server: in the terminal, or a file of them.

    python inference.py --lora_model outputs-sft --interactive
    python inference.py --base_model Qwen/Qwen3-4B --lora_model outputs-sft --interactive --load_in_4bit True
    python inference.py --lora_model outputs-sft --data_file data/eval/heldout_phrasings.jsonl --output_file out.jsonl
    python inference.py --server http://127.0.0.1:8000 --data_file data/eval/heldout_phrasings.jsonl --concurrency 64

Base, precision, tokenizer and template are those of the adapter's training (lineage.json), or the server's own. A file
is answered in order, one row each, and continued where an earlier run was stopped.
"""

import os
from typing import Any

from bedside import cli, errors, inference_flags, logs
from bedside.args import InferenceArguments
from bedside.cli import Parsed


def main(argv: list[str] | None = None) -> None:
    # 1. What is asked for, and the questions, before anything heavy is imported.
    parsed = cli.parse((InferenceArguments,), argv, description=__doc__)
    logs.setup()
    inference_flags.check(parsed)
    args = parsed[InferenceArguments]
    if args.only_cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    system = (args.system_prompt or "").strip() or None
    asked = []
    if args.data_file:
        from bedside import questions

        roles = dict(pair.split("=", 1) for pair in args.role_map.split(",")) if args.role_map else None
        asked = questions.read(args.data_file, args.encoding, roles, system)

    # 2. Who answers, and how to make it ready: a server is there, a model is loaded when there is something to do.
    from bedside import batch
    from bedside.answers import Sampling

    who, ready = _server(args) if args.server else _model(args, parsed)
    sampling = Sampling(args.max_new_tokens, args.temperature, args.top_p, args.top_k, args.repetition_penalty)

    # 3. An output file that is complete needs no model.
    done = 0
    if asked:
        made_of = batch.about(args.data_file, len(asked), who, sampling, args.seed, system, args.enable_thinking)
        done = batch.begin(args.output_file, made_of, asked, args.overwrite_output_file)
        if done == len(asked):
            logs.info(
                f"{args.output_file}: all {done} rows are there already (--overwrite_output_file True starts anew)"
            )
            return
        if done:
            logs.info(f"{args.output_file}: {done} of {len(asked)} rows are there, going on with the rest")

    # 4. The questions are answered.
    engine = ready()
    if asked:
        given = (engine, asked, done, args.output_file, sampling)
        if args.server:
            tally = batch.run_on_server(*given, args.seed, args.enable_thinking)
        else:
            tally = batch.run(*given, args.batch_size, args.seed, args.enable_thinking)
        logs.info(f"{args.output_file}: {batch.summary(len(asked), done, tally.ends)}")
        logs.info(f"{args.output_file}: {tally.speed()}")
        return
    from bedside import chat

    if args.server and "seed" in parsed.given:
        sampling = Sampling(**{**vars(sampling), "seed": args.seed})
    elif not args.server:
        import torch

        torch.manual_seed(args.seed)
    read, screen = chat.terminal()
    chat.chat(engine, read, screen, sampling, system, not args.single_tune, args.stream, args.enable_thinking)


def _server(args: InferenceArguments) -> tuple[dict, Any]:
    """What tells this server's model from others, and a function that returns the engine."""
    from bedside.remote import RemoteEngine

    engine = RemoteEngine(args.server, args.served_model, timeout=args.server_timeout, at_once=args.concurrency)
    logs.info(f"    server  {engine.url}")
    logs.info(f"     model  {engine.name}")
    return {"served": engine.name}, lambda: engine


def _model(args: InferenceArguments, parsed: Parsed) -> tuple[dict, Any]:
    """What tells this model from others, and a function that loads it: base and precision as in the adapter's
    training, tokenizer and template as saved."""
    from bedside import engine

    at_once = args.batch_size if args.data_file else 1
    settled = engine.settle(engine.asked_for(args, parsed.given), args, parsed.given, at_once)
    return settled.identity, settled.load


if __name__ == "__main__":
    errors.run_command(main)
