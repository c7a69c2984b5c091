"""Every flag, once. A field is a flag; its `aliases` are the spellings of MedicalGPT, LLaMA-Factory and the like.

The trainer's own flags (learning rate, logging, saving ...) come from `trainer_flags`, so that nothing is declared
twice and nothing is missing. Nothing heavy is imported: a wrong flag is reported at once. `spellings` holds the names
that are translated, accepted or refused.
"""

from dataclasses import dataclass, field
from typing import Any


def flag(
    default: Any,
    text: str,
    aliases: tuple[str, ...] = (),
    choices: tuple[str, ...] | None = None,
    only: tuple | None = None,
) -> Any:
    """A dataclass field that is a flag. `choices` are the texts it takes; `only` the values that other toolkits'
    commands may say, any other being refused. A text "joined by commas" may also be words that follow one another.
    """
    return field(default=default, metadata={"help": text, "aliases": aliases, "choices": choices, "only": only})


_DTYPES = ("auto", "bfloat16", "bf16", "float16", "fp16", "float32", "fp32")


@dataclass
class ModelArguments:
    """Which model, in which precision, with which adapter."""

    model_name_or_path: str = flag(
        "models/starter",
        "model directory or hub name; the default is the shipped starter",
        ("base_model", "base_model_name_or_path", "sft_model_path"),
    )
    tokenizer_name_or_path: str | None = flag(None, "tokenizer, if not the model's own", ("tokenizer_path",))
    cache_dir: str | None = flag(None, "where downloaded models are kept (default: the Hugging Face cache)")
    model_revision: str = flag("main", "branch, tag or commit of a hub model", ("revision",))
    trust_remote_code: bool = flag(False, "run Python code that comes with the model; leave it off")
    dtype: str = flag(
        "auto",
        "precision the base is held in: auto (the file's), bfloat16, float16 or float32",
        ("torch_dtype",),
        _DTYPES,
    )
    device_map: str | None = flag(
        None, "auto spreads one process's model over its GPUs; ignored under torchrun", (), ("auto",)
    )
    attn_implementation: str | None = flag(None, "sdpa, eager, flash_attention_2, ... (default: sdpa)")
    flash_attn: str | None = flag(
        None, "True/fa2 asks for flash attention and falls back to sdpa, saying so; sdpa, disabled, auto"
    )
    load_in_4bit: bool = flag(False, "hold the frozen base in 4-bit NF4")
    load_in_8bit: bool = flag(False, "hold the frozen base in 8-bit")
    quantization_bit: int | None = flag(None, "4 or 8, LLaMA-Factory's spelling of the two flags above")
    quantization_method: str = flag("bnb", "accepted as bnb: bitsandbytes quantises", (), ("bnb", "bitsandbytes"))
    use_fast_tokenizer: bool = flag(True, "accepted as True: fast tokenizers are always used", (), None, (True,))
    qlora: bool = flag(False, "4-bit NF4 with double quantisation and LoRA, exactly that")
    double_quantization: bool = flag(
        True,
        "quantise the 4-bit scales too (0.3 GB less at 7B)",
        ("bnb_4bit_use_double_quant", "use_bnb_nested_quant"),
    )
    bnb_4bit_quant_type: str = flag("nf4", "nf4 or fp4", ("quantization_type",), ("nf4", "fp4"))
    nf4_cache: bool | None = flag(
        None,
        "keep the 4-bit base on disk for the next start (default: of hub models and of local bases over 1 GB)",
    )
    nf4_cache_dir: str | None = flag(None, "where 4-bit bases are kept (default: beside the Hugging Face cache)")


@dataclass
class AdapterArguments:
    """LoRA and its relatives. All numbers are PEFT's."""

    use_peft: bool = flag(True, "train an adapter; False trains every parameter")
    finetuning_type: str | None = flag(
        None, "lora or full, LLaMA-Factory's spelling of --use_peft", (), ("lora", "full")
    )
    lora_r: int = flag(8, "rank of the update", ("lora_rank", "r"))
    lora_alpha: float = flag(16, "the update is scaled by alpha / r (alpha / sqrt(r) with rsLoRA)")
    lora_dropout: float = flag(0.05, "dropout in front of the adapter, 0..1")
    lora_target_modules: str = flag(
        "all", "linear layers that get an adapter: all, or names joined by commas", ("target_modules", "lora_target")
    )
    lora_modules_to_save: str | None = flag(
        None,
        "modules trained in full and saved beside the adapter, joined by commas",
        ("modules_to_save", "additional_target"),
    )
    use_dora: bool = flag(False, "DoRA: also train each column's magnitude")
    use_rslora: bool = flag(False, "rsLoRA: scale by alpha / sqrt(r)")
    init_lora_weights: str = flag("true", "true, gaussian, orthogonal, pissa or olora")
    pissa_init: bool = flag(False, "LLaMA-Factory's spelling of --init_lora_weights pissa")
    peft_path: str | None = flag(
        None,
        "continue this adapter instead of starting a new one",
        ("adapter_name_or_path", "lora_model", "peft_model_path"),
    )


@dataclass
class DataArguments:
    """Which rows, how they are read, and what happens to those that cannot be used."""

    train_file_dir: str | None = flag(
        None, "training file or directory; several joined by commas", ("train_file", "train_data")
    )
    validation_file_dir: str | None = flag(
        None, "held-out file or directory; several joined by commas", ("validation_file",)
    )
    dataset: str | None = flag(
        None,
        "names of dataset_info.json or of the hub (owner/name:split), with shares if wanted, as a,b:0.3,c:2",
        ("dataset_name",),
    )
    eval_dataset: str | None = flag(None, "held-out datasets, written as in --dataset")
    dataset_dir: str = flag("data", "directory of dataset_info.json")
    validation_split_percentage: float | None = flag(
        None, "hold out this share of the rows, in percent (default 1 with --do_eval and no validation files)"
    )
    val_size: float | None = flag(
        None, "LLaMA-Factory's spelling: a share below 1, or a number of rows", ("val_set_size",)
    )
    max_train_samples: int | None = flag(None, "use the first N usable rows", ("max_samples",))
    max_eval_samples: int | None = flag(None, "evaluate on the first N usable rows")
    encoding: str | None = flag(None, "encoding of the files if not UTF-8, such as gb18030")
    columns: str | None = flag(None, "names of a CSV's columns, joined by commas, if it has no header line")
    mix_strategy: str = flag(
        "concat", "accepted as concat: datasets are joined; give shares, as --dataset a:0.3,b", (), None, ("concat",)
    )
    max_bad_rate: float = flag(0.01, "stop if more than this share of the rows is unusable (0 is --strict)")
    strict: bool = flag(False, "stop at the first unusable row's file: --max_bad_rate 0")
    overwrite_cache: bool = flag(
        False, "accepted: rows are read anew in every run, and --prepared_dir knows when its data is not the same"
    )


@dataclass
class RunArguments:
    """What a training run does and leaves behind."""

    stage: str | None = flag(None, "accepted: the stage this script is")
    overwrite_output_dir: bool = flag(False, "replace what an earlier run left in --output_dir")
    plot_loss: bool = flag(True, "write curves as PNG files")
    logging_dir: str | None = flag(None, "TensorBoard files (default: OUTPUT_DIR/runs)")
    force_resume: bool = flag(False, "resume although data, seed or packing changed")
    auto_fit: bool = flag(
        False,
        "when memory runs out, begin again with settings that need less and change no result, at most three times",
    )
    dry_run: bool = flag(
        False, "read and check everything but the weights, tell memory, speed and hours, and write nothing"
    )
    gpu: str | None = flag(
        None, "with --dry_run: card, such as 'RTX 4090', or its memory alone, such as 11GB (default: this machine's)",
        ("card",),
    )  # fmt: skip
    gpus: int | None = flag(None, "with --dry_run: how many of them (default: as the launcher says)")


@dataclass
class MergeArguments:
    """Fold an adapter into its base and prove that nothing changed."""

    peft_model_path: str = flag("", "adapter directory", ("lora_model", "adapter", "adapter_name_or_path"))
    output_dir: str = flag("", "where the merged model goes", ("output", "export_dir"))
    base_model_name_or_path: str | None = flag(
        None, "base, if lineage.json cannot name it", ("base_model", "model_name_or_path")
    )
    mode: str = flag(
        "auto",
        "original merges into the base's own weights; nf4 into its dequantised 4-bit weights",
        (),
        ("auto", "original", "nf4"),
    )
    dtype: str = flag("keep", "precision of the merged file", ("torch_dtype",), ("keep", "bf16", "fp16", "fp32"))
    max_shard_size: str = flag("5GB", "largest safetensors file; a number alone counts GB", ("export_size",))
    verify: int = flag(64, "tokens compared after reloading; 0 skips the proof")
    max_error_ratio: float = flag(0.10, "refuse if the merge error exceeds this share of the adapter's effect")
    trained_quant: str | None = flag(None, "nf4 or none, for an adapter without lineage.json", (), ("nf4", "none"))
    overwrite_output_dir: bool = flag(False, "replace an existing --output_dir")
    cache_dir: str | None = flag(None, "where downloaded models are kept")
    trust_remote_code: bool = flag(False, "accepted: the merge runs no Python code that comes with a model")
    resize_emb: bool = flag(False, "accepted: rows are added where the adapter has them, and never removed")
    tokenizer_path: str | None = flag(
        None, "accepted if it is the adapter's own tokenizer", ("tokenizer_name_or_path",)
    )
    template_name: str | None = flag(
        None, "accepted: the merged model carries the adapter's own template", ("template",)
    )
    finetuning_type: str = flag("lora", "accepted as lora: only adapters are merged", (), ("lora",))
    hf_hub_model_id: str | None = flag(
        None, "send the merged model to this OWNER/NAME of the hub; the token comes from HF_TOKEN"
    )
    hub_private_repo: bool = flag(True, "nobody else sees it there; False makes it public")


@dataclass
class InferenceArguments:
    """Answer questions: one by one in the terminal, or a file of them."""

    base_model: str = flag(
        "models/starter", "model directory or hub name", ("model_name_or_path", "base_model_name_or_path")
    )
    lora_model: str | None = flag(None, "adapter directory", ("peft_path", "adapter_name_or_path", "peft_model_path"))
    tokenizer_path: str | None = flag(None, "tokenizer, if not the model's own", ("tokenizer_name_or_path",))
    cache_dir: str | None = flag(None, "where downloaded models are kept")
    model_revision: str = flag("main", "branch, tag or commit of a hub model", ("revision",))
    trust_remote_code: bool = flag(False, "run Python code that comes with the model; leave it off")
    template_name: str | None = flag(None, "chat template (default: the one saved with the model)", ("template",))
    system_prompt: str | None = flag(None, "system turn of conversations that bring none of their own")
    enable_thinking: bool | None = flag(None, "False asks a hybrid model to answer without a thought")
    interactive: bool = flag(False, "chat in the terminal")
    data_file: str | None = flag(None, "JSONL (any SFT format, or prompt/messages) or one prompt a line")
    encoding: str | None = flag(None, "encoding of --data_file if not UTF-8, such as gb18030")
    role_map: str | None = flag(None, "roles of a sharegpt file, as patient=user,doctor=assistant")
    output_file: str = flag("predictions.jsonl", "where answers go; a file that is there is continued")
    overwrite_output_file: bool = flag(False, "start --output_file anew", ("overwrite_output",))
    batch_size: int = flag(8, "prompts answered at once", ("eval_batch_size",))
    dtype: str = flag(
        "auto",
        "precision: auto, bfloat16, float16 or float32",
        ("torch_dtype", "infer_dtype"),
        _DTYPES,
    )
    device_map: str | None = flag(None, "auto spreads the model over all GPUs", (), ("auto",))
    attn_implementation: str | None = flag(None, "sdpa, eager, flash_attention_2, ...")
    load_in_4bit: bool = flag(False, "hold the base in 4-bit NF4")
    load_in_8bit: bool = flag(False, "hold the base in 8-bit")
    quantization_bit: int | None = flag(None, "4 or 8, LLaMA-Factory's spelling of the two flags above")
    memory_gb: float | None = flag(
        None, "GB of GPU memory to stay within (of host memory without a GPU): picks the best precision that fits"
    )
    finetuning_type: str = flag("lora", "accepted: adapters are told by --lora_model", (), ("lora", "full"))
    max_new_tokens: int = flag(512, "longest answer, thought included, in tokens")
    temperature: float = flag(0.7, "0 takes the likeliest token every time")
    top_p: float = flag(0.9, "sample from the smallest set of tokens with this probability, 0..1")
    top_k: int = flag(0, "sample from the K likeliest tokens; 0 is all")
    repetition_penalty: float = flag(1.0, "above 1 makes repeated tokens less likely")
    seed: int = flag(42, "seed of sampling")
    gpus: str | None = flag(None, "not supported: set CUDA_VISIBLE_DEVICES")
    resize_emb: bool = flag(False, "accepted: the base's rows are never changed")
    only_cpu: bool = flag(False, "run on the CPU although there is a GPU", ("use_cpu", "no_cuda"))
    stream: bool = flag(True, "show the answer while it is written", ("streaming",))
    single_tune: bool = flag(False, "forget the conversation after every answer")
    server: str | None = flag(
        None, "address of an OpenAI-compatible server that answers in place of a model loaded here", ("api_base",)
    )
    served_model: str | None = flag(None, "with --server: its name for the model (default: the only one it serves)")
    concurrency: int = flag(16, "with --server: rows asked at once")
    server_timeout: float = flag(600.0, "with --server: seconds without a word from it, or without room in it")
