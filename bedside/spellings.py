"""Names that people know from other toolkits and older versions, and what becomes of each: a table, no code."""

# Trainer flags under older or other names.
TRAINER_ALIASES = {
    "max_length": ("model_max_length", "cutoff_len", "max_seq_length", "max_seq_len", "block_size", "sequence_len"),
    "dataset_num_proc": ("preprocessing_num_workers",),
    "eval_strategy": ("evaluation_strategy",),
    "neftune_noise_alpha": ("neft_alpha",),
    "use_cpu": ("no_cuda",),
    "packing": ("neat_packing", "sample_packing"),
    "per_device_train_batch_size": ("train_batch_size", "micro_batch_size", "per_gpu_train_batch_size"),
    "per_device_eval_batch_size": ("eval_batch_size", "per_gpu_eval_batch_size"),
    "num_train_epochs": ("num_epochs", "epochs"),
    "learning_rate": ("lr",),
    "lr_scheduler_type": ("lr_scheduler",),
    "use_liger_kernel": ("enable_liger_kernel",),
    # transformers 5.23 renames these; 5.17 knows only the older name.
    "gradient_checkpointing": ("activation_checkpointing",),
    "gradient_checkpointing_kwargs": ("activation_checkpointing_kwargs",),
    "run_name": ("wandb_run_name", "wandb_name"),
    "beta": ("pref_beta",),
    "label_smoothing": ("dpo_label_smoothing",),
    "desirable_weight": ("kto_chosen_weight",),
    "undesirable_weight": ("kto_rejected_weight",),
    "max_completion_length": ("max_target_length", "response_length"),
    "num_generations": ("num_samples_per_prompt", "rloo_k"),
}

# What a training stage does where nothing is given and the trainer's own default is another.
TRAINER_DEFAULTS = {"logging_steps": 10, "max_length": 2048, "gradient_checkpointing": True}
SAMPLING = ("ppo", "grpo")  # stages that count the tokens of questions and of answers, never of both
# Learning rate of each stage where none is given: with an adapter, in full.
LEARNING_RATES = {
    "pt": (1e-4, 2e-5),
    "sft": (1e-4, 2e-5),
    "rm": (5e-5, 1e-5),
    "dpo": (1e-5, 1e-6),
    "kto": (1e-5, 1e-6),
    "orpo": (2e-5, 5e-6),
    "ppo": (1e-5, 1e-6),
    "grpo": (1e-5, 1e-6),
}
# The same as text, for defaults that depend on the machine or on other flags.
DEFAULT_TEXT = {
    **{name: str(value) for name, value in TRAINER_DEFAULTS.items()},
    "output_dir": "outputs-STAGE",
    "learning_rate": "by stage, with an adapter / in full: pt, sft 1e-4 / 2e-5; rm 5e-5 / 1e-5; dpo, kto, grpo "
    "1e-5 / 1e-6; orpo 2e-5 / 5e-6",
    "report_to": "tensorboard, if installed",
    "bf16": "True where the GPU has it",
    "fp16": "True on a GPU without bf16",
    "do_train": "True unless only --do_eval is given",
    "optim": "adamw_torch_fused",
    "eval_steps": "--logging_steps",
}

# Flags that a word alone switches on, although they also take other values.
BARE = {"resume_from_checkpoint": "True", "flash_attn": "True", "include_num_input_tokens_seen": "True"}

# Of these, the later layer (flags over a recipe) replaces what an earlier one said, instead of contradicting it.
EXCLUSIVE = (
    ("warmup_steps", "warmup_ratio"),
    ("bf16", "fp16"),
    ("qlora", "load_in_4bit", "load_in_8bit", "quantization_bit"),
    ("train_file_dir", "dataset"),
    ("validation_file_dir", "eval_dataset", "validation_split_percentage", "val_size"),
    ("attn_implementation", "flash_attn"),
    ("use_peft", "finetuning_type"),
    ("init_lora_weights", "pissa_init"),
    ("train_sampling_strategy", "group_by_length"),
    ("strict", "max_bad_rate"),
)

# Accepted from other toolkits' commands and told in one line: nothing here depends on them.
ACCEPTED = {
    "preprocessing_batch_size": "rows are tokenized in batches of a fixed size",
    "local_rank": "launchers set LOCAL_RANK in the environment",
    "low_cpu_mem_usage": "weights are always loaded one by one",
    "save_safetensors": "safetensors is the only format",
    "booster": "the fast path needs no flag",
    "use_unsloth": "bedside's own fast path needs no flag",
    "use_unsloth_gc": "bedside's own fast path needs no flag",
    "data_shared_file_system": "every node reads the data itself",
    "print_param_status": "the trained share is always printed",
    "upcast_layernorm": "precision of the frozen base changes nothing that is trained",
}

# A retired or foreign flag stops the run with the sentence that helps; `--name: ` is put in front.
RETIRED = {
    "shift_attn": "S2-attention is not offered; use --max_length with packing",
    "rope_scaling": "edit rope_scaling in the model's config.json instead",
    "hf_hub_token": "secrets come from the environment; set HF_TOKEN",
    "hub_token": "secrets come from the environment; set HF_TOKEN",
    "hf_token": "secrets come from the environment; set HF_TOKEN",
    "use_auth_token": "secrets come from the environment; set HF_TOKEN",
    "ms_hub_token": "secrets come from the environment; set MODELSCOPE_API_TOKEN",
    "wandb_project": "set WANDB_PROJECT in the environment",
    "wandb_entity": "set WANDB_ENTITY in the environment",
    "max_source_length": "use --max_length (question and answer together, in tokens)",
    "max_target_length": "use --max_length (question and answer together, in tokens)",
    "max_prompt_length": "use --max_length (question and answer together, in tokens)",
    "disable_gradient_checkpointing": "use --gradient_checkpointing False",
    "gradient_checkpointing_use_reentrant": "use --gradient_checkpointing_kwargs '{\"use_reentrant\": false}'",
    "chat_template_path": "use --template_name",
    "chat_template": "use --template_name",
    "assistant_only_loss": "only answers are trained on, always; drop the flag",
    "completion_only_loss": "only answers are trained on, always; drop the flag",
    "train_on_response_only": "only answers are trained on, always; drop the flag",
    "dataset_text_field": "rows are recognised by their fields (docs/data-formats.md)",
    "dataset_kwargs": "rows are tokenized by bedside; drop the flag",
    "dataset_config": "write the subset behind the name: --dataset OWNER/NAME/SUBSET",
    "dataset_config_name": "write the subset behind the name: --dataset OWNER/NAME/SUBSET",
    "dataset_train_split": "write the split behind the name: --dataset OWNER/NAME:SPLIT",
    "dataset_test_split": "write the split behind the name: --eval_dataset OWNER/NAME:SPLIT",
    "dataset_streaming": "rows are read at once, so that every one is accounted for; drop the flag",
    "streaming": "rows are read at once, so that every one is accounted for; drop the flag",
    "interleave_probs": "give each dataset the share of its rows that is used: --dataset a:0.3,b:2",
    "default_system": "no system turn is added to training data; write it into the rows",
    "model_init_kwargs": "use --dtype, --attn_implementation, --device_map, --model_revision",
    "model_type": "the model's config.json tells its type; drop the flag",
    "model_author": "not used; drop the flag",
    "model_name": "use --model_name_or_path",
    "truncation_mode": "answers are never cut; over-long rows lose old turns or are left out",
    "truncation": "answers are never cut; over-long rows lose old turns or are left out",
    "eos_token": "the template decides what ends a turn; use --template_name",
    "pad_token": "chosen so that it never ends a turn; drop the flag",
    "padding_free": "use --packing True, which needs no padding either",
    "eval_packing": "held-out rows are packed as the training rows are; drop the flag",
    "packing_strategy": "rows are packed by best fit and never cut; drop the flag",
    "shuffle_dataset": "rows are shuffled by --seed in every epoch; drop the flag",
    "disable_shuffling": "use --train_sampling_strategy sequential",
    "save_only_model": "a checkpoint without its optimizer cannot be resumed; drop the flag",
    "enable_jit_checkpoint": "not offered; use --save_steps",
    "pure_bf16": "use --dtype bfloat16 with --bf16 True; adapters stay in float32",
    "fp16_opt_level": "apex is gone; use --fp16 True",
    "half_precision_backend": "torch's own autocast is used; drop the flag",
    "adafactor": "use --optim adafactor",
    "use_adam_mini": "not offered; --optim adamw_8bit saves the most memory of those that are",
    "use_muon": "not offered; --optim lists those that are",
    "create_new_adapter": "merge the old adapter first: python merge_peft_adapter.py "
    "--peft_model_path ADAPTER --output_dir DIR",
    "lora_bias": "biases stay frozen; drop the flag",
    "lora_target_linear": "use --lora_target_modules all",
    "lora_target_parameters": "not offered; use --lora_target_modules",
    "lora_task_type": "each stage knows its own; drop the flag",
    "loraplus_lr_ratio": "LoRA+ is not offered; drop the flag",
    "pissa_iter": "use --init_lora_weights pissa_niter_16",
    "pissa_convert": "merge instead: python merge_peft_adapter.py --peft_model_path ADAPTER --output_dir DIR",
    "bnb_4bit_compute_dtype": "matrix products are computed in --dtype",
    "load_in_kbits": "use --load_in_4bit True or --load_in_8bit True",
    "resize_vocab": "use build_domain_tokenizer.py; the base's rows are never changed in training",
    "add_tokens": "use build_domain_tokenizer.py",
    "split_special_tokens": "turn markers in a row's text are never read as markers; drop the flag",
    "compute_accuracy": "token accuracy is always logged; drop the flag",
    "predict_with_generate": "use inference.py --data_file, or --eval_file for a table before and after",
    "early_stopping_steps": "use --load_best_model_at_end True with --save_total_limit",
    "use_swanlab": "use --report_to tensorboard or wandb",
    "val_file": "use --validation_file_dir",
    "config_name": "the model's own config.json is used; drop the flag",
    "nproc_per_node": "belongs to the launcher: torchrun --nproc_per_node N SCRIPT ...",
    "num_gpus": "use torchrun --nproc_per_node N SCRIPT ..., or CUDA_VISIBLE_DEVICES",
    "evaluate_during_training": "use --eval_strategy steps",
    "per_device_batch_size": "use --per_device_train_batch_size and --per_device_eval_batch_size",
    "tensor_parallel_size": "belongs to serving: vllm serve --tensor-parallel-size N",
    "vllm_maxlen": "belongs to serving: vllm serve --max-model-len N",
    "infer_backend": "transformers answers here; serve with vLLM for more",
    "export_device": "the merge needs no GPU; drop the flag",
    "export_legacy_format": "safetensors is the only format; drop the flag",
    "export_quantization_bit": "the merged model is written in full; quantise when loading (--load_in_4bit)",
    "export_hub_model_id": "push the merged directory with `hf upload`",
    "push_to_hub_model_id": "push the directory with `hf upload REPO DIR`",
    "generation_kwargs": "answers are drawn from the whole distribution; use --temperature",
    "cache_implementation": "answers are drawn with the model's own cache; drop the flag",
    "chat_template_kwargs": "use --enable_thinking",
    "use_transformers_paged": "not offered: it would round adapters to 16 bits; drop the flag",
    "use_transformers_continuous_batching": "not offered: it would round adapters to 16 bits; drop the flag",
    "transformers_continuous_batching_config": "not offered: it would round adapters to 16 bits; drop the flag",
    "max_tool_calling_iterations": "nothing calls tools while answers are sampled; drop the flag",
    "vllm_structured_outputs_regex": "answers are drawn from the whole distribution; drop the flag",
    "vllm_importance_sampling_cap": "use --vllm_importance_sampling_clip_max",
    "num_completions_to_print": "use --samples_kept",
    "log_unique_prompts": "samples.jsonl shows one answer of each group first; drop the flag",
    "log_multimodal": "text only; drop the flag",
    "log_completions_hub_repo": "answers stay on this machine, in samples.jsonl; drop the flag",
    "reward_model_revision": "download that revision, and name its directory",
}

# What a flag of one stage means to say in another, by its flag group or trainer's config; these come first.
_OF_PAIRS = {
    "packing": "two answers are compared, and rows are not packed; drop the flag",
    "neat_packing": "two answers are compared, and rows are not packed; drop the flag",
    "padding_free": "a batch is padded to its longest row; drop the flag",
    "mask_history": "only the answers that are judged are trained on; drop the flag",
    "prepared_dir": "these rows are tokenized in every run; drop the flag",
    "tokenized_path": "these rows are tokenized in every run; drop the flag",
    "block_size": "use --max_length (question and answer together, in tokens)",
    "ref_model": "the reference follows from the model's lineage (docs/stages/dpo.md); drop the flag",
    "ref_model_adapters": "the reference follows from the model's lineage (docs/stages/dpo.md); drop the flag",
    "ref_model_quantization_bit": "the reference is quantised as the model is; drop the flag",
    "ref_model_name_or_path": "the reference follows from the model's lineage (docs/stages/dpo.md); drop the flag",
    "pref_bco_weight": "use --loss_type sigmoid bco_pair --loss_weights 1 W",
}
_OF_GROUPS = {
    "max_length": "use --max_source_length (the question) and --max_completion_length (the answer), in tokens",
    "model_max_length": "use --max_source_length (the question) and --max_completion_length (the answer), in tokens",
    "cutoff_len": "use --max_source_length (the question) and --max_completion_length (the answer), in tokens",
    "packing": "answers are sampled, and rows are not packed; drop the flag",
    "mask_history": "only sampled answers are trained on; drop the flag",
    "prepared_dir": "questions are tokenized in every run; drop the flag",
    "eval_file": "held-out tasks are answered before and after (--validation_split_percentage, --exam_samples)",
    "eval_samples": "use --exam_samples",
    "reward_model_path": "belongs to ppo_training.py, or use --reward_funcs with a function of your own",
    "reward_model": "belongs to ppo_training.py, or use --reward_funcs with a function of your own",
    "kl_coef": "use --beta",
    "num_ppo_epochs": "use --num_iterations",
    "total_episodes": "use --max_steps or --num_train_epochs",
    "ref_model": "the reference follows from the model's lineage (docs/stages/grpo.md); drop the flag",
    "dataset_num_proc": "questions are tokenized in one process, thousands a second; drop the flag",
    "preprocessing_num_workers": "questions are tokenized in one process, thousands a second; drop the flag",
    "num_processes": "belongs to the launcher: torchrun --nproc_per_node N grpo_training.py ...",
}
_NO_CHAT = "documents are trained on as they are, without a chat template; drop the flag"
RETIRED_IN = {
    "PretrainArguments": dict.fromkeys(
        ("template_name", "template", "tool_format", "enable_thinking", "mask_history"), _NO_CHAT
    )
    | {"eval_file": "a base answers no questions; held-out documents are measured (--validation_file_dir)"},
    "DPOConfig": _OF_PAIRS | {"orpo_beta": "run orpo_training.py", "desirable_weight": "run kto_training.py"},
    "KTOConfig": _OF_PAIRS | {"simpo_gamma": "run dpo_training.py --loss_type simpo"},
    "PairConfig": _OF_PAIRS | {"label_smoothing": "ORPO has none; dpo_training.py --loss_type robust has"},
    "GroupConfig": _OF_GROUPS,
    "RewardConfig": _OF_PAIRS
    | {
        "beta": "belongs to dpo_training.py; a reward model has no reference",
        "loss_type": "the loss is that of Bradley and Terry; drop the flag",
        "eval_file": "a reward model writes no answers; held-out pairs are scored (--validation_split_percentage)",
    },
}

# The same for families of flags, by how they begin.
RETIRED_FAMILIES = {
    "freeze_": "freeze-tuning is not offered; use LoRA (--use_peft True)",
    "galore_": "GaLore is set with --optim galore_adamw --optim_args ... --optim_target_modules ...",
    "use_galore": "GaLore is set with --optim galore_adamw --optim_args ... --optim_target_modules ...",
    "apollo_": "APOLLO is set with --optim apollo_adamw --optim_args ... --optim_target_modules ...",
    "use_apollo": "APOLLO is set with --optim apollo_adamw --optim_args ... --optim_target_modules ...",
    "badam_": "BAdam is not offered; --optim lists the optimizers that are",
    "use_badam": "BAdam is not offered; --optim lists the optimizers that are",
    "use_llama_pro": "LLaMA-Pro is not offered; use LoRA (--use_peft True)",
    "swanlab_": "use --report_to tensorboard or wandb",
    "ray_": "launch with torchrun; Ray is not used",
    "pref_": "belongs to preference training, not to this stage",
    "ppo_": "belongs to PPO, not to this stage",
    "dpo_": "belongs to preference training, not to this stage",
    "image_": "text only; drop the flag",
    "video_": "text only; drop the flag",
    "audio_": "text only; drop the flag",
}
