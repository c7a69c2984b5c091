"""Flags against each other: every conflict at once, then one meaning each. Only this file changes parsed flags."""

from pathlib import Path

from bedside import launch, logs, templates, trainer_checks
from bedside.args import AdapterArguments, DataArguments, ModelArguments, RunArguments
from bedside.cli import Parsed
from bedside.data import build
from bedside.errors import ConfigError
from bedside.stage_args import ChatArguments, EvalArguments

_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
_INITS = ("true", "false", "gaussian", "orthogonal", "pissa", "olora")


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


def _model(model: ModelArguments) -> list[str]:
    problems = quantisation(model)
    if model.qlora:
        if model.load_in_8bit:
            problems.append("--qlora is 4-bit; drop --load_in_8bit (or drop --qlora for 8-bit LoRA)")
        model.load_in_4bit = model.double_quantization = True
    if model.flash_attn is not None:
        problems += _flash(model)
    return problems + _copies(model)


def _copies(model: ModelArguments) -> list[str]:
    given = "--nf4_cache True" if model.nf4_cache else "--nf4_cache_dir" if model.nf4_cache_dir else None
    if given and not model.load_in_4bit:
        return [f"{given}: only a 4-bit base is kept on disk; add --qlora True or --load_in_4bit True"]
    both = model.nf4_cache_dir and model.nf4_cache is False
    return ["--nf4_cache_dir with --nf4_cache False: give one"] if both else []


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
    if kind and "use_peft" in given and adapter.use_peft != (kind == "lora"):
        problems.append(f"--finetuning_type {kind} contradicts --use_peft {adapter.use_peft}")
    elif kind:
        adapter.use_peft = kind == "lora"
    if (model.load_in_4bit or model.load_in_8bit) and not adapter.use_peft:
        which = "--qlora" if model.qlora else "a quantised base"
        problems.append(f"{which} cannot be trained in full: use --use_peft True, or load the base in bfloat16")
    if adapter.pissa_init and "init_lora_weights" in given and not adapter.init_lora_weights.startswith("pissa"):
        problems.append(f"--pissa_init True contradicts --init_lora_weights {adapter.init_lora_weights}; give one")
    elif adapter.pissa_init:
        adapter.init_lora_weights = "pissa"
    if adapter.init_lora_weights.lower() not in _INITS:
        random = "niter" in adapter.init_lora_weights
        why = "starts from random numbers that a reload does not repeat" if random else "unknown"
        problems.append(f"--init_lora_weights {adapter.init_lora_weights}: {why}; expected {', '.join(_INITS)}")
    if adapter.init_lora_weights.startswith(("pissa", "olora")) and (model.load_in_4bit or model.load_in_8bit):
        problems.append(
            f"--init_lora_weights {adapter.init_lora_weights} changes the base's weights, which a quantised base "
            "cannot store; drop it, or load the base in bfloat16"
        )
    fixed = {"lora_r", "lora_alpha", "lora_target_modules", "use_dora", "use_rslora", "init_lora_weights"} & given
    if adapter.peft_path and fixed:
        problems.append(
            f"--peft_path continues an adapter whose shape is fixed; drop {', '.join('--' + f for f in sorted(fixed))}"
        )
    if adapter.peft_path and not adapter.use_peft:
        problems.append(
            "--peft_path with --use_peft False: merge the adapter first, then train the merged model in full"
        )
    if adapter.lora_alpha <= 0:
        problems.append(f"--lora_alpha {adapter.lora_alpha:g}: expected more than 0")
    if adapter.lora_r < 1:
        problems.append(f"--lora_r {adapter.lora_r}: expected at least 1")
    if not 0 <= adapter.lora_dropout < 1:
        problems.append(f"--lora_dropout {adapter.lora_dropout}: expected 0 <= p < 1")
    return problems


def _held_out(data: DataArguments, trainer: dict) -> list[str]:
    """Problems of the ways to say what is held out."""
    ways = {
        "--validation_file_dir": data.validation_file_dir,
        "--eval_dataset": data.eval_dataset,
        "--validation_split_percentage": data.validation_split_percentage,
        "--val_size": data.val_size,
    }
    files = bool(data.validation_file_dir or data.eval_dataset)
    splits = [way for way in ("--validation_split_percentage", "--val_size") if ways[way]]
    problems = []
    if len(splits) == 2:
        problems.append("--validation_split_percentage and --val_size: give one")
    if files and splits:
        named = " and ".join(way for way, value in ways.items() if value)
        problems.append(f"{named}: give validation files or a validation split, not both")
    percentage, size = data.validation_split_percentage, data.val_size
    if percentage is not None and not 0 <= percentage < 100:
        problems.append(f"--validation_split_percentage {percentage:g}: expected 0 to 100")
    if size is not None and (size < 0 or size >= 1 and size != int(size)):
        problems.append(f"--val_size {size:g}: expected a share below 1 or a whole number of rows")
    if 0 in (percentage, size) and not files and trainer_checks.evaluates(trainer):
        problems.append("an evaluation is asked for and nothing is held out: give --validation_split_percentage 1")
    return problems


def roles_and_template(arguments) -> list[str]:
    """Settle --template_name (an alias becomes the name), check --tool_format and --role_map; returns problems."""
    problems = []
    if arguments.role_map and not all("=" in pair for pair in arguments.role_map.split(",")):
        wanted = "expected name=role pairs, as patient=user,doctor=assistant"
        problems.append(f"--role_map {arguments.role_map}: {wanted}")
    return problems + template_problems(arguments)


def template_problems(arguments) -> list[str]:
    """Settle --template_name in place, an alias becomes the name; a problem for a name that is no template's, or for a
    --tool_format (where the script has one) that it cannot have."""
    if not arguments.template_name:
        return []
    try:
        tool_format = getattr(arguments, "tool_format", None)
        arguments.template_name = templates.get(arguments.template_name, tool_format).name
    except ConfigError as error:
        return error.problems
    return []


def _data(data: DataArguments, trainer: dict) -> list[str]:
    problems = _held_out(data, trainer)
    if not data.train_file_dir and not data.dataset:
        problems.append("no training data: give --train_file_dir FILE_OR_DIRECTORY or --dataset NAME")
    if not 0 <= data.max_bad_rate <= 1:
        problems.append(f"--max_bad_rate {data.max_bad_rate:g}: expected a share, 0 to 1")
    if data.strict:
        data.max_bad_rate = 0.0
    for name in ("max_train_samples", "max_eval_samples"):
        if getattr(data, name) is not None and getattr(data, name) < 1:
            setattr(data, name, None)  # MedicalGPT's -1 is "all"
    return problems


def _output(trainer: dict, model: ModelArguments, adapter: AdapterArguments, overwrite: bool) -> list[str]:
    """Refuse to delete what the run starts from."""
    output = Path(trainer["output_dir"]).resolve()
    for flag, name in (("--model_name_or_path", model.model_name_or_path), ("--peft_path", adapter.peft_path)):
        if overwrite and name and (Path(name).resolve() == output or output in Path(name).resolve().parents):
            return [f"--overwrite_output_dir True would delete {flag} {name}; choose another --output_dir"]
    return []


def training(parsed: Parsed, stage: str) -> None:
    """Settle the flags of a training stage in place; ConfigError lists every problem."""
    model, adapter = parsed[ModelArguments], parsed[AdapterArguments]
    data, run, trainer = parsed[DataArguments], parsed[RunArguments], parsed.trainer
    problems = _model(model) + _adapter(adapter, model, parsed.given)  # whether the base is quantised comes first
    problems += _data(data, trainer) + trainer_checks.check(trainer)
    problems += roles_and_template(parsed[ChatArguments]) if ChatArguments in parsed.groups else []
    if run.stage not in (None, stage):
        problems.append(f"--stage {run.stage}: this script is the {stage} stage; run that stage's script")
    held_out = data.validation_file_dir or data.eval_dataset or data.validation_split_percentage or data.val_size
    trainer_checks.fill(trainer, bool(held_out), adapter.use_peft, stage)
    problems += _output(trainer, model, adapter, run.overwrite_output_dir)
    questions = parsed[EvalArguments].eval_file if EvalArguments in parsed.groups else None
    quantised = model.load_in_4bit or model.load_in_8bit
    problems += launch.problems(trainer, quantised, adapter.init_lora_weights, questions)
    if problems:
        raise ConfigError(problems)
    for note in parsed.notes:
        logs.info(note)


def several(paths: str | None) -> list[str]:
    """`a.jsonl,b.json` as two paths; a path that exists as it is written is one."""
    if not paths or Path(paths).exists():
        return [paths] if paths else []
    return [path.strip() for path in paths.split(",") if path.strip()]


def files(
    data: DataArguments,
    trainer: dict,
    role_map: str | None = None,
    documents: str = "line",
    ranking: bool = False,
    texts: bool = False,
) -> dict:
    """Keywords of `chats.Plan` from the data flags. `ranking` allows preference datasets, `texts` reads .txt files."""
    seed, wants_eval = trainer.get("seed", 42), bool(trainer.get("do_eval"))
    paths, validation = several(data.train_file_dir), several(data.validation_file_dir)
    holdout = 0.0
    if data.val_size:
        holdout = data.val_size
    elif data.validation_split_percentage is not None:
        holdout = data.validation_split_percentage / 100
    elif wants_eval:
        holdout = 0.01
    reading = build.Reading.of_flags(data.encoding, data.columns, role_map, documents)
    return {
        "train": build.sources(paths, data.dataset, data.dataset_dir, reading, seed, ranking, texts),
        "validation": build.sources(validation, data.eval_dataset, data.dataset_dir, reading, seed, ranking, texts),
        "reading": reading,
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
        "nf4_cache": {None: "auto", True: "on", False: "off"}[model.nf4_cache],
        "nf4_cache_dir": model.nf4_cache_dir,
    }


def vllm_can(adapter: AdapterArguments) -> str:
    """Whether vLLM 0.29 serves the adapter unmerged: it refuses DoRA and modules saved in full, and would put an
    adapter that took a part of the base's weights (PiSSA, OLoRA) on a base that still has it."""
    moved = adapter.init_lora_weights.lower().startswith(("pissa", "olora"))
    return "merge_only" if adapter.use_dora or adapter.lora_modules_to_save or moved else "adapter"


def for_batches(trainer: dict) -> dict:
    """Trainer flags that follow from batches that our collators make of rows that are ready."""
    pin = trainer.get("dataloader_pin_memory", True) and not trainer.get("use_cpu")
    return {
        "dataloader_pin_memory": pin,
        "remove_unused_columns": False,
        "disable_tqdm": trainer.get("disable_tqdm", False),
    }


def for_ready_ids(trainer: dict) -> dict:
    """Trainer flags that follow from giving it ids, labels and packed rows that are ready."""
    pin = trainer.get("dataloader_pin_memory", True) and not trainer.get("use_cpu")
    fixed = {"dataset_kwargs": {"skip_prepare_dataset": True}, "dataloader_pin_memory": pin}
    # Packing is done: telling TRL about it would make it flatten a batch into one row, with a quadratic mask.
    return {**fixed, "packing": False, "eval_packing": False, "disable_tqdm": trainer.get("disable_tqdm", False)}
