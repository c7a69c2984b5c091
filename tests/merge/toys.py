"""Adapters with random weights, sealed as a training stage seals them, and the merge command on them."""

from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model

import merge_peft_adapter
from bedside import lineage, models, probe

ROOT = Path(__file__).resolve().parents[2]
STARTER = ROOT / "models" / "starter"
NF4 = {"bits": 4, "type": "nf4", "double": True}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def make_adapter(base: Path, directory: Path, quant=None, sealed=True, rows=None, scale=0.05, **lora) -> Path:
    """An adapter with random weights on `base`, sealed with the lineage that a training stage would write."""
    torch.manual_seed(1)
    model = models.load_base(
        str(base), quantisation=quant, num_labels=1 if lora.get("task_type") == "SEQ_CLS" else None
    )
    tokenizer = models.load_tokenizer(str(base))
    template = models.install_template(tokenizer, "qwen3")
    if rows:
        model.resize_token_embeddings(rows, mean_resizing=False)
    lora = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | lora
    model = get_peft_model(model, LoraConfig(**lora))
    for name, parameter in model.named_parameters():
        if "lora_B" in name or "lora_embedding_B" in name:
            parameter.data += torch.randn_like(parameter) * scale
        elif "modules_to_save" in name or "trainable_tokens_delta" in name:
            parameter.data += torch.randn_like(parameter) * 0.1
        elif "magnitude" in name:
            parameter.data *= 1.1
    model.save_pretrained(directory, save_embedding_layers=bool(rows) or "auto")
    tokenizer.save_pretrained(directory)
    if sealed:
        stops = models.stop_ids(tokenizer, template, 0)
        load = {"task": lora["task_type"], "num_labels": None, "quant": models.quantisation_of(model), "rows": rows}
        load["base"] = lineage.base_record(directory, str(base), None, None)
        lineage.write(
            directory, "sft", "adapter", load, tokenizer=tokenizer,
            template={"name": "qwen3", "thinking": "hybrid", "stops": stops},
            probe=probe.record(model, tokenizer),
        )  # fmt: skip
    return directory


def run(*flags: object) -> int:
    return merge_peft_adapter.main([str(flag) for flag in flags])


def merged_from(adapter: Path, *flags: object) -> Path:
    output = adapter.with_name(adapter.name + "-merged")
    assert run("--peft_model_path", adapter, "--output_dir", output, *flags) == 0
    return output


def leftovers(directory: Path) -> list[str]:
    return sorted(p.name for p in directory.iterdir() if "merged" in p.name)


IDS = torch.tensor([[11, 402, 77, 1033, 2044, 5, 910, 64, 333, 1200]])


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.float().eval()(input_ids=IDS).logits


def on_base(base: Path, adapter: Path) -> torch.Tensor:
    """The adapter on its base, computed in float32."""
    return logits(PeftModel.from_pretrained(models.load_base(str(base), "float32"), str(adapter)))
