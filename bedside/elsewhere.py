"""Flags of one stage that are given to another, and what to say there instead: a table, no code."""

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
_OF_PPO = {
    "max_length": "use --max_source_length (the question) and --response_length (the answer), in tokens",
    "model_max_length": "use --max_source_length (the question) and --response_length (the answer), in tokens",
    "cutoff_len": "use --max_source_length (the question) and --response_length (the answer), in tokens",
    "packing": "answers are sampled, and rows are not packed; drop the flag",
    "neat_packing": "answers are sampled, and rows are not packed; drop the flag",
    "mask_history": "only sampled answers are trained on; drop the flag",
    "prepared_dir": "questions are tokenized in every run; drop the flag",
    "whiten_rewards": "advantages are whitened over the whole rollout, rewards never: it would move the weight of the "
    "KL; use --reward_clip",
    "ppo_whiten_rewards": "advantages are whitened over the whole rollout, rewards never: it would move the weight of "
    "the KL; use --reward_clip",
    "ppo_score_norm": "scores are not rescaled: it would move the weight of the KL; use --reward_clip and "
    "--reward_model_weight",
    "use_score_norm": "scores are not rescaled: it would move the weight of the KL; use --reward_clip and "
    "--reward_model_weight",
    "use_score_scaling": "scores are not rescaled: it would move the weight of the KL; use --reward_clip and "
    "--reward_model_weight",
    "score_clip": "use --reward_clip",
    "ppo_buffer_size": "a rollout grows by --gradient_accumulation_steps and --num_mini_batches",
    "num_sample_generations": "use --samples_kept, and --eval_strategy steps for held-out questions",
    "max_new_tokens": "use --response_length",
    "stop_token": "every stop token of model and template ends an answer; drop the flag",
    "stop_token_id": "every stop token of model and template ends an answer; drop the flag",
    "kl_estimator": "rewards take k1, whose sum is unbiased, and the log shows k3 as approximate_kl; drop the flag",
    "kl_penalty": "rewards take k1, whose sum is unbiased; drop the flag",
    "entropy_coef": "the KL keeps the policy broad (--kl_coef); drop the flag",
    "reward_model_type": "a reward adapter on the policy's base is recognised (--share_reward_base); drop the flag",
    "reward_model_adapters": "give the adapter itself: --reward_model_path ADAPTER",
    "reward_model_quantization_bit": "a reward model is quantised as in its own training; drop the flag",
    "value_model_path": "the critic begins as the reward model, or as the policy; drop the flag",
    "value_model": "the critic begins as the reward model, or as the policy; drop the flag",
    "model_adapter_name": "the policy follows from the model's lineage; drop the flag",
    "ref_adapter_name": "the reference follows from the model's lineage (docs/stages/ppo.md); drop the flag",
    "ref_model": "the reference follows from the model's lineage (docs/stages/ppo.md); drop the flag",
    "ref_model_adapters": "the reference follows from the model's lineage (docs/stages/ppo.md); drop the flag",
    "ds3_gather_for_generation": "answers are sampled from shards; use accelerate/zero2.yaml if that is too slow",
    "top_p": "answers are drawn from the whole distribution, whose probabilities are trained; use --temperature",
    "top_k": "answers are drawn from the whole distribution, whose probabilities are trained; use --temperature",
    "repetition_penalty": "answers are drawn from the whole distribution; use --reward_funcs repetition",
    "num_generations": "PPO asks each question once in a rollout; groups of answers are grpo_training.py's",
    "rloo_k": "PPO asks each question once in a rollout; run grpo_training.py --algorithm rloo",
    "beta": "use --kl_coef",
    "pref_beta": "use --kl_coef",
    "batch_size": "use --per_device_train_batch_size; a rollout is that x --gradient_accumulation_steps x "
    "--num_mini_batches",
    "mini_batch_size": "use --per_device_train_batch_size and --num_mini_batches",
    "steps": "use --total_episodes or --max_steps",
    "num_processes": "belongs to the launcher: torchrun --nproc_per_node N ppo_training.py ...",
}
_OF_GROUPS = {
    **dict.fromkeys(
        ("max_length", "model_max_length", "cutoff_len"),
        "use --max_source_length (the question) and --max_completion_length (the answer), in tokens",
    ),
    "packing": "answers are sampled, and rows are not packed; drop the flag",
    "mask_history": "only sampled answers are trained on; drop the flag",
    "prepared_dir": "questions are tokenized in every run; drop the flag",
    "eval_file": "held-out tasks are answered before and after (--validation_split_percentage, --exam_samples)",
    "eval_samples": "use --exam_samples",
    **dict.fromkeys(
        ("reward_model_path", "reward_model"),
        "belongs to ppo_training.py; here --reward_funcs are functions, yours too",
    ),
    "train_samples": "use --max_train_samples",
    "subset_name": "write the subset behind the name: --dataset OWNER/NAME/SUBSET",
    "dataset_splits": "write the split behind the name: --dataset OWNER/NAME:SPLIT",
    "kl_coef": "use --beta",
    "num_ppo_epochs": "use --num_iterations",
    "total_episodes": "use --max_steps or --num_train_epochs",
    "ref_model": "the reference follows from the model's lineage (docs/stages/grpo.md); drop the flag",
    **dict.fromkeys(
        ("dataset_num_proc", "preprocessing_num_workers"),
        "questions are tokenized in one process, thousands a second; drop the flag",
    ),
    "num_processes": "belongs to the launcher: torchrun --nproc_per_node N grpo_training.py ...",
}
_NO_SHOTS = "questions are asked without examples, as patients ask; drop the flag, or use --lm_eval TASKS"
_OF_EVALUATION = {
    **dict.fromkeys(("n_shot", "num_fewshot", "nshot"), _NO_SHOTS),
    **dict.fromkeys(("max_samples", "eval_samples"), "use --max_eval_samples"),
    "lang": "a question is asked in its own language; drop the flag",
    "task_dir": "give the files themselves: --choice_files FILE FILE",
    "model_args": "use --model_name_or_path, --lora_model, --dtype and --load_in_4bit, each by itself",
    "gen_kwargs": "use --temperature, --top_p, --top_k and --max_new_tokens",
    "apply_chat_template": "the model's template is always used; another is --template_name",
    "include_path": "give the path of a task's YAML file: --lm_eval PATH",
    "log_samples": "every case is written down, in OUTPUT_DIR/cases",
    "data_path": "use --eval_file (chats), --choice_files (multiple choice) or --document_file",
    "bnb_path": "use --model_name_or_path DIR --load_in_4bit True",
    "data_file": "use --eval_file (chats), --choice_files (multiple choice) or --document_file",
    "output_file": "use --output_dir; a run writes several files",
    "interactive": "run inference.py",
    "download_mode": "nothing is downloaded; drop the flag",
    "metrics": "use --tasks; a task measures all that it can",
    "bootstrap_iters": "each measure has the interval of its kind (docs/stages/evaluation.md); drop the flag",
    "eval_backend": "tasks of lm-evaluation-harness are --lm_eval TASKS; drop the flag",
    "eval_dataset": "use --tasks with --choice_files, --eval_file and so on, or --lm_eval TASKS",
}
_NO_CHAT = "documents are trained on as they are, without a chat template; drop the flag"
RETIRED_IN = {
    "EvaluationArguments": _OF_EVALUATION,
    "PretrainArguments": dict.fromkeys(
        ("template_name", "template", "tool_format", "enable_thinking", "mask_history"), _NO_CHAT
    )
    | {"eval_file": "a base answers no questions; held-out documents are measured (--validation_file_dir)"},
    "DPOConfig": _OF_PAIRS | {"orpo_beta": "run orpo_training.py", "desirable_weight": "run kto_training.py"},
    "KTOConfig": _OF_PAIRS | {"simpo_gamma": "run dpo_training.py --loss_type simpo"},
    "PairConfig": _OF_PAIRS | {"label_smoothing": "ORPO has none; dpo_training.py --loss_type robust has"},
    "PPOConfig": _OF_PPO,
    "GroupConfig": _OF_GROUPS,
    "RewardConfig": _OF_PAIRS
    | {
        "beta": "belongs to dpo_training.py; a reward model has no reference",
        "loss_type": "the loss is that of Bradley and Terry; drop the flag",
        "eval_file": "a reward model writes no answers; held-out pairs are scored (--validation_split_percentage)",
    },
}
