"""Make the starter model: a small base that has read the facts as documents and has never seen a chat.

    python -m bedside.starter --output_dir models/starter --seed 7

The tokenizer and every weight come from our own documents, so the stages can run, and be tested, without a download.
"""

import argparse
import hashlib
import json
import math
import time
from pathlib import Path

from bedside.errors import ConfigError, run_command
from bedside.synth import documents, facts
from bedside.synth.corpus import (
    CONTEXT,
    TOKENIZER_DOCUMENTS,
    flat_ids,
    make_tokenizer,
    tokenised,
)
from bedside.synth.measures import MICRO_TOKENS, ROW, autocast, measures, naming_cases

SHAPE = {
    "hidden_size": 256,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "intermediate_size": 704,
}
FEWEST_DOCUMENTS = 100
HELD_OUT_DOCUMENTS = 200  # the lines of data/eval/documents.txt
MEASURES = 16  # how often the held-out perplexity is taken in a run
VOCABULARY_START = 4  # the ids before it are control tokens
MOST_PARAMETERS = 8_000_000


def build_model(tokenizer, seed: int):
    """A fresh Qwen3-shaped model for this tokenizer, in fp32."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        attention_dropout=0.0,
        use_cache=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **SHAPE,
    )
    model = Qwen3ForCausalLM(config).float()
    if model.num_parameters() >= MOST_PARAMETERS:
        raise ConfigError(
            f"{model.num_parameters():,} parameters, but the starter must stay under {MOST_PARAMETERS:,}; "
            "lower --vocab_size"
        )
    return model


def learning_rate_at(progress: float, peak: float, warm_up: float = 0.03) -> float:
    """Linear warm-up, then a cosine down to a tenth; `progress` runs from 0 to 1."""
    if progress < warm_up:
        return peak * (progress + 1e-3) / (warm_up + 1e-3)
    done = min(1.0, (progress - warm_up) / (1 - warm_up))
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


def _optimizer(model, learning_rate: float, device: str):
    import torch

    matrices = [weight for weight in model.parameters() if weight.ndim >= 2]
    others = [weight for weight in model.parameters() if weight.ndim < 2]  # norms are not decayed
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.95), fused=device == "cuda")


def pretrain(model, ids, held_out, cases, args, device: str) -> tuple[list[dict], int]:
    """Causal language modelling over every parameter; returns the curve and the number of tokens seen."""
    import torch
    from tqdm import tqdm

    rows = torch.from_numpy(ids[: len(ids) // ROW * ROW].astype("int64")).view(-1, ROW)
    per_step = max(1, min(args.batch_tokens // ROW, len(rows)))
    per_epoch = len(rows) // per_step
    steps = max(1, int(args.epochs * per_epoch))
    optimizer = _optimizer(model, args.learning_rate, device)
    forward = torch.compile(model) if args.compile else model
    order = torch.Generator().manual_seed(args.seed)
    started, measured, seen = time.monotonic(), 0, 0
    noise = torch.Generator(device).manual_seed(args.seed)
    curve = [{"tokens": 0, **measures(model, held_out, cases, device)}]
    best, kept = -1.0, {}
    for step in tqdm(range(steps), desc="pretraining", unit="step"):
        if step % per_epoch == 0:
            shuffled = torch.randperm(len(rows), generator=order)
        # With a time limit the schedule follows the clock, so that the rate has come down when the time is over.
        spent = (time.monotonic() - started) / (60 * args.minutes) if args.minutes else 0.0
        progress = max(step / steps, spent)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(progress, args.learning_rate)
        place = step % per_epoch * per_step
        loss = _step(forward, optimizer, rows[shuffled[place : place + per_step]], device, args, noise)
        seen += per_step * ROW
        over = progress >= 1 or step == steps - 1
        if over or progress * MEASURES >= measured + 1:
            measured = int(progress * MEASURES)
            values = measures(model, held_out, cases, device)
            curve.append({"tokens": seen, "loss": loss, **values})
            tqdm.write(f"{seen:>12,} tokens  loss {loss:.3f}  " + "  ".join(f"{k} {v:.3f}" for k, v in values.items()))
            if values["heldout_naming"] >= best:
                best = values["heldout_naming"]
                kept = {name: weight.clone() for name, weight in model.state_dict().items()}
        if over:
            break
    model.load_state_dict(kept)  # it is trained for as long as it gains, and no longer
    return curve, seen


def _step(forward, optimizer, batch, device: str, args, generator) -> float:
    """One optimizer step over a batch, in parts that fit; the mean loss.

    A share `--noise` of the input tokens is replaced by random ones (the targets are not): our documents repeat their
    frames, and a reader who cannot rely on every word learns what the facts say instead of how a frame goes on.
    """
    import torch

    parts = batch.split(MICRO_TOKENS[device] // ROW)
    total = torch.zeros((), device=device)
    for part in parts:
        part = part.to(device, non_blocking=True)
        wrong = torch.rand(part.shape, device=device, generator=generator) < args.noise
        words = torch.randint(VOCABULARY_START, args.vocab_size, part.shape, device=device, generator=generator)
        with autocast(device):
            loss = forward(input_ids=torch.where(wrong, words, part), labels=part, use_cache=False).loss
        (loss * len(part) / len(batch)).backward()
        total += loss.detach() * len(part) / len(batch)
    for group in optimizer.param_groups:
        torch.nn.utils.clip_grad_norm_(group["params"], 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total.item()


def wake_unused_rows(model, ids, seed: int) -> list[int]:
    """Give the embedding rows of tokens that never occurred a life of their own; returns their ids.

    Weights are tied, so each such row was pushed away from every hidden state, always in the same direction: they end
    up alike and far off. Fine-tuning, LoRA above all, could then hardly tell <think> from a turn end. A fresh row has
    the mean and the spread of the trained rows and their median length: an ordinary word that is not known yet.
    """
    import numpy as np
    import torch

    weight = model.get_input_embeddings().weight
    counts = np.bincount(ids, minlength=len(weight))
    unused = np.flatnonzero(counts == 0).tolist()
    with torch.no_grad():
        trained = weight[torch.from_numpy(np.flatnonzero(counts)).to(weight.device)].float()
        noise = torch.randn(len(unused), weight.shape[1], generator=torch.Generator().manual_seed(seed))
        fresh = trained.mean(0) + noise.to(weight.device) * trained.std(0)
        length = trained.norm(dim=1).median()
        weight[unused] = (fresh * (length / fresh.norm(dim=1, keepdim=True))).to(weight.dtype)
    return unused


def save(model, tokenizer, curve: list[dict], metrics: dict, args) -> None:
    """Write weights in bf16, tokenizer, generation settings, the curve and the lineage."""
    import torch
    from transformers import GenerationConfig

    from bedside import lineage

    target = Path(args.output_dir)
    target.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.to("cpu", torch.bfloat16).save_pretrained(target)
    tokenizer.save_pretrained(target)
    (target / "training_curve.json").write_text(json.dumps(curve, indent=1) + "\n", encoding="utf-8")
    table = facts.PATH.read_bytes()
    source = {"file": "data/conditions.jsonl", "sha": hashlib.sha256(table).hexdigest(), "rows": table.count(b"\n")}
    lineage.write(
        target,
        stage="starter",
        kind="full",
        load={"task": "CAUSAL_LM"},
        parents=[],
        tokenizer=tokenizer,
        args={key: value for key, value in vars(args).items() if key not in ("output_dir", "processes")},
        seed=args.seed,
        data=[source],
        metrics=metrics,
    )


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(prog="python -m bedside.starter", description=__doc__.splitlines()[0])
    parser.add_argument("--output_dir", default="models/starter")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--documents", type=int, default=1_600_000, help="documents to render")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after so many minutes of training; 0: never")
    parser.add_argument("--vocab_size", type=int, default=5000)
    parser.add_argument("--batch_tokens", type=int, default=65_536, help="tokens of one optimizer step")
    parser.add_argument("--learning_rate", type=float, default=2e-3)
    parser.add_argument("--noise", type=float, default=0.15, help="share of input tokens replaced by random ones")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--processes", type=int, default=0, help="processes that render and tokenise; 0: one per core")
    parser.add_argument("--compile", action="store_true", help="compile the model with torch.compile first")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Tokenizer, documents, pretraining, save: top to bottom."""
    args = parse(argv)
    if args.documents < FEWEST_DOCUMENTS:
        raise ConfigError(f"--documents is {args.documents}; it takes at least {FEWEST_DOCUMENTS} to fill a batch")
    import torch

    device = args.device if args.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    rows = facts.load()
    tokenizer = make_tokenizer(rows, args.seed, args.vocab_size, min(TOKENIZER_DOCUMENTS, args.documents))
    model = build_model(tokenizer, args.seed).to(device)
    ids = tokenised(tokenizer, rows, args.documents, args.seed, args.processes)
    texts = list(documents.heldout_documents(rows, HELD_OUT_DOCUMENTS, args.seed))
    held_out = flat_ids(tokenizer.backend_tokenizer, texts)
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens, {len(ids):,} training tokens, on {device}")
    cases = naming_cases(tokenizer, rows, args.seed)
    curve, seen = pretrain(model, ids, held_out, cases, args, device)
    unused = wake_unused_rows(model, ids, args.seed)
    metrics = {
        **measures(model, held_out, cases, device),
        "untrained_perplexity": curve[0]["heldout_document_perplexity"],
        "tokens_seen": seen,
        "training_tokens": len(ids),
        "parameters": model.num_parameters(),
        "unused_tokens": len(unused),
    }
    save(model, tokenizer, curve, metrics, args)
    print(json.dumps(metrics))
    return 0


if __name__ == "__main__":
    run_command(main)
