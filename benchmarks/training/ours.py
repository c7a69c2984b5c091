"""How bedside trains: a bare loop around its kernels, and its own scripts, unchanged, from a model directory.

The loop shows what the kernels allow, a script what a user gets. Of a script only the call that trains is wrapped, to
attach clock and count; weights, rows, flags and trainer are those of any other run.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

from benchmarks.training import measure, rows, weights
from benchmarks.training.case import Case
from benchmarks.training.peers import start
from benchmarks.training.shapes import ALPHA, RANK

SCRIPTS = {"sft": "supervised_finetuning", "dpo": "dpo_training", "orpo": "orpo_training", "rm": "reward_modeling"}


def prepared(case: Case) -> Any:
    """The model with its adapter and kernels, in training mode."""
    from bedside import adapters, kernels
    from bedside.kernels import host_embedding

    model = weights.build(case.model, case.weights, case.device)
    if not case.full:
        model = adapters.in_float32(weights.with_adapter(model))
        model.enable_input_require_grads()
    model.train()
    print("\n".join(kernels.install(model, anywhere=True, **case.kernels)))
    if case.host_embedding:
        host_embedding.install(model)
    if case.checkpointing:
        checkpoint(model, case)
    return model


def checkpoint(model: Any, case: Case) -> None:
    """Checkpoint all layers but the last `whole`, in host memory where that is asked for."""
    import torch

    from bedside.kernels import checkpointing, offload

    lane, device = None, torch.device(case.device)
    if case.offload and case.device == "cuda":
        lane = offload.Lane(device, offload.CudaCopies(device), offload.Buffers())
    lm = getattr(model, "get_base_model", lambda: model)()
    lm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    checkpointing.apply(checkpointing.decoder_layers(model), case.whole, lane)


def loss_of(model: Any, batch: dict[str, Any]) -> Any:
    """Mean cross entropy of a packed batch `(B, T)`, a few hundred rows of logits at a time."""
    import torch

    from bedside.kernels import loss
    from bedside.preference import logprobs

    lm = getattr(model, "get_base_model", lambda: model)()
    hidden = lm.model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False)[0]
    targets, weight = batch["labels"][:, 1:], lm.lm_head.weight
    kept = targets != -100
    hidden, targets = hidden[:, :-1][kept], targets[kept]
    if not weight.requires_grad:
        return loss.nll_sum(hidden, weight, targets) / len(targets)
    # A head that is trained too: its gradient is summed over pieces, which are computed again.
    rule, rows_at_a_time = logprobs.LogitRule(), 2**25 // len(weight)
    found = logprobs.TokenLogProbs.apply(hidden, weight, None, targets, rule, torch.bfloat16, rows_at_a_time)
    return -found[0].mean()


def loop(case: Case) -> dict[str, Any]:
    """Packed rows, AdamW, clipped gradients, nothing else."""
    import torch

    from bedside.collate import PackedCollator

    start()
    model = prepared(case)
    collate = measure.Counting(PackedCollator(3), 3)
    packed = rows.read(case.file(f"{case.data}.packed.jsonl"))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=case.device == "cuda")
    loading, clock, losses = measure.forget_peak(case.device), measure.Clock(case.device), []
    clock.mark()
    for step in range(min(case.steps, len(packed) // case.rows)):
        batch = collate(packed[step * case.rows : (step + 1) * case.rows])
        if case.device == "cuda":
            batch = {name: tensor.pin_memory().to("cuda", non_blocking=True) for name, tensor in batch.items()}
        with torch.autocast(case.device, torch.bfloat16, enabled=case.full):
            loss = loss_of(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        clock.mark()
        losses.append(loss.detach())
    return measure.figures(case, clock, collate.seen, loading, torch.stack(losses).mean().item())


def flags_of(case: Case, model: str) -> list[str]:
    """The command line that a user would type for this case."""
    given = {
        "model_name_or_path": model,
        "template_name": rows.TEMPLATE,
        "train_file_dir": str(case.file(f"{rows.name_of(case.stage, case.data)}.jsonl")),
        "output_dir": str(case.file(f"out-{case.name}")),
        "max_length": case.length,
        "per_device_train_batch_size": case.rows,
        "max_steps": case.steps,
        "learning_rate": 1e-4,
        "lr_scheduler_type": "constant",
        "gradient_checkpointing": case.checkpointing,
        "bf16": True,
        "logging_steps": 10**6,
        "save_strategy": "no",
        "report_to": "none",
        "max_bad_rate": 0,
        "overwrite_output_dir": True,
    }
    if case.stage == "sft":
        given |= {"packing": case.packing, "data_report": False}
    if case.full:
        given["use_peft"] = False
    else:
        given |= {"lora_r": RANK, "lora_alpha": ALPHA, "lora_dropout": case.dropout, "qlora": case.weights == "nf4"}
        given["nf4_cache_dir"] = str(case.file("nf4"))  # the first script of a run writes it, the others read it
    if case.device == "cpu":
        given |= {"use_cpu": True} | ({} if case.shards == "ddp" else {"bf16": False})  # refused there in shards
    given |= case.flags
    return [word for flag, value in given.items() for word in (f"--{flag}", str(value))]


class _Measured(BaseException):
    """Ends a script when its training is done: what it would save and seal afterwards is not measured."""


def script(case: Case) -> dict[str, Any]:
    """The project's own script of the case's stage, from flags to the last step."""
    from bedside import runner

    directory, case = weights.ready(case)
    trained, found = runner.train, {}

    def measured(trainer: Any, *given: Any) -> None:
        marks = measure.watch(trainer, case, pad=trainer.processing_class.pad_token_id)
        found.update(marks.measured(trained(trainer, *given).get("train_loss")))
        raise _Measured

    runner.train = measured
    try:
        importlib.import_module(SCRIPTS[case.stage]).main(flags_of(case, str(directory)))
    except _Measured:
        pass
    finally:
        runner.train = trained
    return found


def sides(case: Case) -> dict[str, Any]:
    """Supervised fine-tuning on both sides of as many pairs, each a row of its own: as many tokens in a batch."""
    flags = case.flags | {"train_file_dir": str(case.file("sides_full.jsonl"))}
    return script(replace(case, stage="sft", rows=2 * case.rows, flags=flags))
