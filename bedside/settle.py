"""Flags against each other: every conflict at once, then one meaning each. Only this file changes parsed flags."""

from importlib.util import find_spec

from bedside import templates
from bedside.args import AdapterArguments, DataArguments, ModelArguments, RunArguments
from bedside.cli import Parsed
from bedside.data import build
from bedside.errors import ConfigError

_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
_REPORTERS = ("tensorboard", "wandb")


def full_dtype(name: str) -> str:
    """`bf16` -> `bfloat16`; other names as they are."""
    return _DTYPES.get(name, name)


def quantisation(arguments) -> list[str]:
    """Settle --quantization_bit and the two load_in flags; returns problems."""
    bits = arguments.quantization_bit
    if bits not in (None, 4, 8):
        return [f"--quantization_bit {bits}: expected 4 or 8"]
    problems = []
    if bits == 4 and arguments.load_in_8bit or bits == 8 and arguments.load_in_4bit:
        problems.append(f"--quantization_bit {bits} contradicts the --load_in flag; give one")
    arguments.load_in_4bit |= bits == 4
    arguments.load_in_8bit |= bits == 8
    if arguments.load_in_4bit and arguments.load_in_8bit:
        problems.append("--load_in_4bit and --load_in_8bit: choose one")
    arguments.dtype = full_dtype(arguments.dtype)
    return problems


def _model(model: ModelArguments, adapter: AdapterArguments) -> list[str]:
    problems = quantisation(model)
    if model.qlora:
        if model.load_in_8bit:
            problems.append("--qlora is 4-bit; drop --load_in_8bit (or drop --qlora for 8-bit LoRA)")
        model.load_in_4bit = model.double_quantization = True
    if (model.load_in_4bit or model.load_in_8bit) and not adapter.use_peft:
        which = "--qlora" if model.qlora else "a quantised base"
        problems.append(f"{which} cannot be trained in full: use --use_peft True, or load the base in bfloat16")
    if model.flash_attn is not None:
        problems += _flash(model)
    return problems


def _flash(model: ModelArguments) -> list[str]:
    wish = model.flash_attn.lower()
    known = {"true": "fa2", "fa2": "fa2", "sdpa": "sdpa", "false": "off", "disabled": "off", "auto": "off"}
    if wish not in known:
        return [f"--flash_attn {model.flash_attn}: expected True, False, fa2, sdpa, disabled or auto"]
    if model.attn_implementation:
        return [f"--flash_attn {wish} and --attn_implementation {model.attn_implementation}: give one"]
    model.flash_attn = known[wish]
    return []


def _adapter(adapter: AdapterArguments, model: ModelArguments, given: set[str]) -> list[str]:
    problems = []
    kind = adapter.finetuning_type
    if kind not in (None, "lora", "full"):
        problems.append(f"--finetuning_type {kind}: expected lora or full")
    elif kind and "use_peft" in given and adapter.use_peft != (kind == "lora"):
        problems.append(f"--finetuning_type {kind} contradicts --use_peft {adapter.use_peft}")
    elif kind:
        adapter.use_peft = kind == "lora"
    if adapter.pissa_init:
        adapter.init_lora_weights = "pissa"
    if adapter.init_lora_weights.startswith(("pissa", "olora")) and (model.load_in_4bit or model.load_in_8bit):
        problems.append(
            f"--init_lora_weights {adapter.init_lora_weights} changes the base's weights, which a quantised base cannot "
            "store; drop it, or load the base in bfloat16"
        )
    fixed = {"lora_r", "lora_alpha", "lora_target_modules", "use_dora", "use_rslora", "init_lora_weights"} & given
    if adapter.peft_path and fixed:
        problems.append(
            f"--peft_path continues an adapter whose shape is fixed; drop {', '.join('--' + f for f in sorted(fixed))}"
        )
    if adapter.peft_path and not adapter.use_peft:
        problems.append("--peft_path with --use_peft False: merge the adapter first, then train the merged model in full")
    if adapter.lora_r < 1:
        problems.append(f"--lora_r {adapter.lora_r}: expected at least 1")
    if not 0 <= adapter.lora_dropout < 1:
        problems.append(f"--lora_dropout {adapter.lora_dropout}: expected 0 <= p < 1")
    return problems


def _data(data: DataArguments, trainer: dict) -> list[str]:
    problems = []
    if not data.train_file_dir and not data.dataset:
        problems.append("no training data: give --train_file_dir FILE_OR_DIRECTORY or --dataset NAME")
    if data.validation_file_dir and (data.validation_split_percentage or data.val_size):
        problems.append("--validation_file_dir and a validation split: give one")
    if data.validation_split_percentage and data.val_size:
        problems.append("--validation_split_percentage and --val_size: give one")
    if data.validation_split_percentage is not None and not 0 <= data.validation_split_percentage < 100:
        problems.append(f"--validation_split_percentage {data.validation_split_percentage}: expected 0 to 100")
    if data.strict:
        data.max_bad_rate = 0.0
    for name, only in (("ignore_pad_token_for_loss", True), ("train_on_inputs", False)):
        if getattr(data, name) is not only:
            problems.append(f"--{name} {not only}: not offered; bedside trains on answers and on nothing else")
    for name in ("max_train_samples", "max_eval_samples"):
        if getattr(data, name) is not None and getattr(data, name) < 1:
            setattr(data, name, None)  # MedicalGPT's -1 is "all"
    if data.role_map and not all("=" in pair for pair in data.role_map.split(",")):
        problems.append(f"--role_map {data.role_map}: expected name=role pairs, as patient=user,doctor=assistant")
    if data.template_name:
        try:
            data.template_name = templates.get(data.template_name).name
        except ConfigError as error:
            problems += error.problems
    if (trainer.get("max_length") or 1) < 1:
        problems.append(f"--max_length {trainer['max_length']}: expected at least 1 token")
    return problems


def _reporters(trainer: dict) -> list[str]:
    wanted = trainer.get("report_to", "tensorboard" if find_spec("tensorboard") else "none")
    wanted = [wanted] if isinstance(wanted, str) else list(wanted or ["none"])
    if wanted == ["all"]:
        wanted = [name for name in _REPORTERS if find_spec(name)] or ["none"]
    trainer["report_to"] = wanted if wanted != ["none"] else "none"
    problems = []
    for name in wanted:
        if name not in (*_REPORTERS, "none"):
            problems.append(f"--report_to {name}: expected tensorboard, wandb or none")
        elif name != "none" and find_spec(name) is None:
            problems.append(f"--report_to {name}: {name} is not installed; run `pip install {name}`, or use none")
    return problems


def _steps(trainer: dict, data: DataArguments) -> None:
    """Trainer defaults that differ from TRL's, where the user gave nothing."""
    defaults = {"logging_steps": 10, "max_length": 2048, "gradient_checkpointing": True}
    for name, value in defaults.items():
        if trainer.get(name) is None:
            trainer[name] = value
    wants_eval = trainer.get("do_eval") or trainer.get("eval_strategy", "no") not in ("no", None)
    if not trainer.get("do_train") and not trainer.get("do_eval"):
        trainer["do_train"] = True
    if wants_eval or data.validation_file_dir or data.validation_split_percentage or data.val_size:
        trainer["do_eval"] = True
        if "eval_strategy" not in trainer and trainer.get("eval_steps"):
            trainer["eval_strategy"] = "steps"


def training(parsed: Parsed, stage: str) -> None:
    """Settle the flags of a training stage in place; ConfigError lists every problem."""
    model, adapter = parsed[ModelArguments], parsed[AdapterArguments]
    data, run, trainer = parsed[DataArguments], parsed[RunArguments], parsed.trainer
    problems = _adapter(adapter, model, parsed.given) + _model(model, adapter)
    problems += _data(data, trainer) + _reporters(trainer)
    if run.stage not in (None, stage):
        problems.append(f"--stage {run.stage}: this script is the {stage} stage; run that stage's script")
    if trainer.get("do_predict"):
        problems.append("--do_predict: use inference.py --data_file for answers")
    if trainer.get("bf16") and trainer.get("fp16"):
        problems.append("--bf16 and --fp16: choose one")
    if trainer.get("push_to_hub"):
        problems.append("--push_to_hub: not offered yet; run `hf upload REPO OUTPUT_DIR` after training")
    _steps(trainer, data)
    if "learning_rate" not in trainer:
        trainer["learning_rate"] = 1e-4 if adapter.use_peft else 2e-5
    trainer.setdefault("output_dir", f"outputs-{stage}")
    if problems:
        raise ConfigError(problems)


def chat_files(data: DataArguments, wants_eval: bool, seed: int) -> dict:
    """Keywords of `chats.read_sets` from the data flags."""
    roles = dict(pair.split("=", 1) for pair in data.role_map.split(",")) if data.role_map else None
    columns = [name.strip() for name in data.columns.split(",")] if data.columns else None
    paths = [data.train_file_dir] if data.train_file_dir else []
    validation = [data.validation_file_dir] if data.validation_file_dir else []
    holdout = 0.0
    if data.val_size:
        holdout = data.val_size
    elif data.validation_split_percentage is not None:
        holdout = data.validation_split_percentage / 100
    elif wants_eval:
        holdout = 0.01
    return {
        "train": build.sources(paths, data.dataset, data.dataset_dir),
        "validation": build.sources(validation),
        "reading": build.Reading(data.encoding, columns, roles),
        "max_bad_rate": data.max_bad_rate,
        "holdout": holdout,
        "max_train": data.max_train_samples,
        "max_eval": data.max_eval_samples,
        "seed": seed,
    }


def lora(adapter: AdapterArguments) -> dict | None:
    """Keywords of `adapters.lora_config`, or None for full training."""
    if not adapter.use_peft:
        return None
    return {
        "r": adapter.lora_r,
        "alpha": adapter.lora_alpha,
        "dropout": adapter.lora_dropout,
        "target_modules": adapter.lora_target_modules,
        "modules_to_save": adapter.lora_modules_to_save,
        "use_dora": adapter.use_dora,
        "use_rslora": adapter.use_rslora,
        "init_lora_weights": adapter.init_lora_weights,
    }


def quantisation_wish(model: ModelArguments) -> dict | None:
    """`{"bits", "type", "double"}` from the flags, or None."""
    if model.load_in_4bit:
        return {"bits": 4, "type": model.bnb_4bit_quant_type, "double": model.double_quantization}
    return {"bits": 8} if model.load_in_8bit else None


def loading(model: ModelArguments, full: bool) -> dict:
    """Keywords of `models.load_base`. Full training holds its weights in float32 unless told otherwise: bfloat16
    weights round away updates smaller than 0.4 % of a weight."""
    return {
        "dtype": "float32" if full and model.dtype == "auto" else model.dtype,
        "quantisation": quantisation_wish(model),
        "attn_implementation": model.attn_implementation,
        "flash_attn": model.flash_attn,
        "device_map": model.device_map,
        "revision": model.model_revision,
        "cache_dir": model.cache_dir,
        "trust_remote_code": model.trust_remote_code,
    }


def vllm_can(adapter: AdapterArguments) -> str:
    """Whether vLLM 0.29 serves the adapter unmerged: it refuses DoRA and modules saved in full."""
    return "merge_only" if adapter.use_dora or adapter.lora_modules_to_save else "adapter"


def for_ready_ids(trainer: dict) -> dict:
    """Trainer flags that follow from giving it ids, labels and packed rows that are ready."""
    fixed = {"dataset_kwargs": {"skip_prepare_dataset": True}, "dataloader_pin_memory": not trainer.get("use_cpu")}
    # Packing is done: telling TRL about it would make it flatten a batch into one row, with a quadratic mask.
    return {**fixed, "packing": False, "eval_packing": False, "disable_tqdm": trainer.get("disable_tqdm", False)}
