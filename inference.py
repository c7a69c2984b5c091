"""Answer questions with a base model, an adapter or a merged model: in the terminal, or a file of them.

    python inference.py --lora_model outputs-sft --interactive
    python inference.py --base_model Qwen/Qwen3-4B --lora_model outputs-sft --interactive --load_in_4bit True
    python inference.py --lora_model outputs-sft --data_file data/eval/heldout_phrasings.jsonl --output_file out.jsonl

Base, precision, tokenizer and template are those of the adapter's training (lineage.json). A file is answered in
order, one row each, and continued where an earlier run was stopped.
"""

import os

from bedside import cli, errors, inference_flags, logs
from bedside.args import InferenceArguments


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

    # 2. Which model that is: base and precision as in the adapter's training, tokenizer and template as saved.
    from bedside import engine
    from bedside.generate import Sampling

    named = args.base_model if "base_model" in parsed.given or not args.lora_model else None
    origin = engine.find(named, args.lora_model)
    origin.resolved.revision = args.model_revision if "model_revision" in parsed.given else origin.resolved.revision
    tokenizer, template = engine.text_side(
        origin, args.template_name, args.tokenizer_path, args.cache_dir, args.trust_remote_code
    )
    if args.enable_thinking is not None and template.thinking == "none":
        logs.warn(f"--enable_thinking: the template {template.name} has no thinking mode; the flag changes nothing")
    quantisation, dtype = engine.precision(origin, inference_flags.quantisation_wish(args), args.dtype)
    sampling = Sampling(args.max_new_tokens, args.temperature, args.top_p, args.top_k, args.repetition_penalty)

    # 3. An output file that is complete needs no model.
    done = 0
    if asked:
        from bedside import batch

        made_of = batch.about(
            args.data_file, len(asked), engine.identity(origin, template, quantisation, dtype), sampling, args.seed,
            system, args.enable_thinking,
        )  # fmt: skip
        done = batch.begin(args.output_file, made_of, asked, args.overwrite_output_file)
        if done == len(asked):
            logs.info(
                f"{args.output_file}: all {done} rows are there already (--overwrite_output_file True starts anew)"
            )
            return
        if done:
            logs.info(f"{args.output_file}: {done} of {len(asked)} rows are there, going on with the rest")

    # 4. The model answers.
    loaded = engine.load(
        origin, tokenizer, template, quantisation, dtype, args.attn_implementation, args.device_map, args.cache_dir,
        args.trust_remote_code,
    )  # fmt: skip
    engine.describe(loaded, origin)
    if asked:
        ends = batch.run(
            loaded, asked, done, args.output_file, sampling, args.batch_size, args.seed, args.enable_thinking
        )
        logs.info(f"{args.output_file}: {batch.summary(len(asked), done, ends)}")
        return
    import torch

    from bedside import chat

    torch.manual_seed(args.seed)
    read, screen = chat.terminal()
    chat.chat(loaded, read, screen, sampling, system, not args.single_tune, args.stream, args.enable_thinking)


if __name__ == "__main__":
    errors.run_command(main)
