"""The flags of plan.py, spelled and parsed as those of `args`; where a stage has the same flag, it has its name."""

from dataclasses import dataclass

from bedside.args import flag
from bedside.planner.memory import STAGES


@dataclass
class PlanArguments:
    """Which training is planned, on which cards."""

    model_name_or_path: str = flag(
        "",
        "model directory, config.json, hub name, or a size such as 7B; no weights are read",
        ("model", "base_model"),
    )
    cache_dir: str | None = flag(None, "where downloaded models are kept (default: the Hugging Face cache)")
    stage: str = flag("sft", "stage of training", (), STAGES)
    gpu: str = flag("", "card, such as 'RTX 4090', or its memory alone, such as 11GB", ("card",))
    gpus: int = flag(1, "how many of them, in one machine", ("num_processes", "nproc_per_node"))
    precision: str = flag(
        "auto", "qlora, lora or full; auto takes lora or qlora, whichever fits and is not slower",
        (), ("auto", "qlora", "lora", "full"),
    )  # fmt: skip
    max_length: int | None = flag(
        None, "longest row in tokens (default: 2048, less where that does not fit)",
        ("model_max_length", "cutoff_len", "block_size"),
    )  # fmt: skip
    max_source_length: int = flag(1024, "ppo, grpo: longest question in tokens", ("max_prompt_length",))
    response_length: int = flag(512, "ppo, grpo: longest answer in tokens", ("max_completion_length",))
    effective_batch_size: int | None = flag(
        None, "rows (ppo, grpo: answers) of an optimizer step on all cards (default: 16; ppo, grpo: 64)"
    )
    per_device_train_batch_size: int | None = flag(None, "hold the rows of a micro-batch to this")
    lora_r: int = flag(8, "rank of the adapter", ("lora_rank", "r"))
    rows: int = flag(1000, "rows of the data")
    tokens_per_row: int = flag(700, "their mean length in tokens; of pairs, of each side; ppo, grpo: with the answer")
    num_train_epochs: float = flag(1.0, "passes over the data")
    train_file_dir: str | None = flag(None, "data that the command and the recipe name (default: by stage)")
    template_name: str | None = flag(None, "chat template that they name (default: the model's own)", ("template",))
    output_dir: str | None = flag(None, "output directory that they name (default: outputs-STAGE)")
    write: str | None = flag(None, "write the settings as a recipe of that stage: FILE.yaml")
    overwrite: bool = flag(False, "replace a recipe that is there")
    table: bool = flag(False, "print memory by method and size of the model, as Markdown, and nothing else")
    measured: bool = flag(False, "print what was measured beside what would be planned, and nothing else")
