"""The policy's weights to a vLLM server, and answers from it: by the adapter alone, and by all weights.

    .serve-venv/bin/python -m bedside.ppo.vllm_server --model models/starter -- --max-model-len 1024 &
    python benchmarks/bench_ppo_vllm.py --model models/starter --url http://127.0.0.1:8000

Seconds of a sync, tokens a second, and how far the server's log-probabilities of its own answers lie from those that
the trainer computes.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bedside import errors, models
from bedside.ppo.vllm_client import VLLMSampler

QUESTIONS = ("发热怎么办？", "How do I treat a small burn?", "头晕先查什么？", "A cough for three days: what now?")
NF4 = {"bits": 4, "type": "nf4", "double": True}


def policy(name: str, rank: int, load_in_4bit: bool):
    """A new adapter of this rank on all linear layers, with a first update that is not zero."""
    import torch

    from bedside import adapters

    torch.manual_seed(0)
    base = models.load_base(name, "auto", NF4 if load_in_4bit else None)
    model = adapters.attach(base, adapters.lora_config(r=rank, alpha=2 * rank, dropout=0.0)).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data += torch.randn_like(parameter) * 0.02
    return model


def gap(model, sampler: VLLMSampler, ids: list[int]):
    """How far the server's log-probabilities of `ids` after the first lie from the trainer's."""
    import torch

    body = {"model": sampler._asked, "prompt": ids, "max_tokens": 1, "prompt_logprobs": 0, "temperature": 0}
    found = sampler.server.post("/v1/completions", body | {"add_special_tokens": False})["choices"][0]
    theirs = [
        place[str(token)]["logprob"] for place, token in zip(found["prompt_logprobs"], ids, strict=True) if place
    ]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids], device=model.device)).logits.float()
    ours = logits.log_softmax(-1)[0, :-1].gather(1, torch.tensor(ids, device=model.device)[1:, None])[:, 0]
    return (ours.cpu() - torch.tensor(theirs)).abs()


def measure(how: str, model, args, prompts: list[list[int]]) -> None:
    """Print what one way costs, and how far its answers lie from the policy."""
    import torch

    sampler = VLLMSampler(args.url, how=how)
    seconds = sorted(sampler.sync(model, version).seconds for version in range(args.syncs))
    speeds = []
    for seed in range(args.syncs):
        begin = time.monotonic()
        answers = sampler.complete(prompts, args.tokens, 1.0, [], seed=seed)
        speeds.append(sum(map(len, answers)) / (time.monotonic() - begin))
    gaps = [gap(model, sampler, [*p, *a]) for p, a in zip(prompts[: args.checked], answers, strict=False)]
    sampler.close()
    print(
        f"{how:8} sync {seconds[len(seconds) // 2]:.2f} s, {sorted(speeds)[len(speeds) // 2]:,.0f} tokens/s, "
        f"{torch.cat(gaps).mean():.4f} nats a token from the trainer's log-probabilities"
    )


def main(argv: list[str] | None = None) -> None:
    """Measure both ways on the server at --url, which serves --model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/starter")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--syncs", type=int, default=5, help="repeats, of which the middle one counts")
    parser.add_argument("--checked", type=int, default=8, help="answers whose log-probabilities are compared")
    parser.add_argument("--ways", nargs="+", default=["adapter", "merged"])
    parser.add_argument("--load_in_4bit", action="store_true")
    args = parser.parse_args(argv)
    tokenizer = models.load_tokenizer(args.model)
    prompts = [tokenizer(question)["input_ids"] for question in QUESTIONS]
    prompts = [prompts[row % len(prompts)] for row in range(args.rows)]
    model = policy(args.model, args.rank, args.load_in_4bit)
    for how in args.ways:
        measure(how, model, args, prompts)


if __name__ == "__main__":
    errors.run_command(main)
