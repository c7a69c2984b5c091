"""What --help prints: a short usage, then the flags in groups, a line or two each, defaults in brackets."""

import textwrap

from bedside.flagtable import Flag

_TITLES = {
    "model": "Model: which one, in which precision",
    "adapter": "Adapter: LoRA and its relatives",
    "data": "Data: which rows, and how they are read",
    "chat": "Chat: how rows become the text of a chat",
    "supervised": "Supervised fine-tuning: which answers are trained on, and where the data waits",
    "pretrain": "Pretraining: what a document is",
    "pair": "Lengths: of questions and answers, in tokens",
    "preference": "Preferences: the reference, and losses beside the trainer's",
    "oddsratio": "ORPO",
    "label": "Labelled answers",
    "page": "Page: which models, and where it listens",
    "quantise": "Quantised copies",
    "deploy": "Deployment",
    "serving": "Serving: the model, what requests leave open, and the limits",
    "reward": "Rewards: what an answer is worth",
    "rollout": "Sampled answers: what is kept of them, and when a run is stopped",
    "group": "Groups of answers: GRPO and RLOO",
    "ppo": "PPO: the reward model, and what the policy starts from",
    "eval": "Questions answered before and after the training",
    "run": "Run: what it does and leaves behind",
    "merge": "Merge",
    "inference": "Inference",
    "evaluation": "Evaluation: which model, which questions, and who judges",
    "vocabulary": "Vocabulary: which words, for which tokenizer and model",
    "clean": "Cleaning: which rows, of what, and where they go",
    "download": "Download: what, from where, to where",
    "trainer": "Trainer: the flags people use most, under transformers' names",
}
# Trainer flags that --help explains; it lists the others by name. docs/flags.md has them all.
COMMON = {
    "output_dir": "where everything goes",
    "response_length": "longest answer, thought included, in tokens",
    "total_episodes": "stop after so many sampled answers, whatever the epochs",
    "kl_coef": "what a nat of distance from the reference costs",
    "adaptive_kl": "move --kl_coef so that the KL of an answer tends to --target_kl",
    "target_kl": "with --adaptive_kl: nats an answer",
    "num_ppo_epochs": "passes over each rollout",
    "num_mini_batches": "optimizer steps in each pass; a rollout grows by this factor",
    "critic_learning_rate": "of critic and value head (default: five times --learning_rate)",
    "critic_warmup_rollouts": "rollouts in which only the critic learns",
    "cliprange": "clip range of the ratio of probabilities",
    "cliprange_value": "clip range of values, in units of the reward; 0 switches it off",
    "missing_eos_penalty": "taken off the reward of an answer that is cut at --response_length",
    "reward_clip": "a reward model's scores are clipped to this, either way",
    "do_train": "train",
    "do_eval": "evaluate on the held-out rows at the end, and every --eval_steps with --eval_strategy steps",
    "per_device_train_batch_size": "rows (packed: rows of --max_length tokens) at once on each device",
    "per_device_eval_batch_size": "the same in an evaluation",
    "gradient_accumulation_steps": "batches added up before the weights change",
    "num_train_epochs": "times through the rows; may be a fraction",
    "max_steps": "stop after so many changes of the weights, whatever the epochs",
    "learning_rate": "largest step size",
    "lr_scheduler_type": "how it decays: linear, cosine, constant_with_warmup, ...",
    "warmup_ratio": "share of the steps in which it rises from 0",
    "warmup_steps": "the same as a number of steps (below 1: a share)",
    "weight_decay": "AdamW's",
    "max_grad_norm": "longer gradients are shortened to this",
    "optim": "adamw_torch, adamw_8bit, paged_adamw_8bit (GPU), adafactor, ...",
    "max_length": "longest sample, question and answer together, in tokens",
    "packing": "fill rows of --max_length with several samples, which never see each other",
    "dataset_num_proc": "processes that tokenize",
    "loss_type": "which of the trainer's losses, as the stage's page lists them",
    "loss_weights": "their weights, where several are given",
    "beta": "how near the policy stays to its reference, 0.1 is usual (SimPO: scale of the reward)",
    "label_smoothing": "share of preferences that are taken to be flipped (robust, exo_pair, aot)",
    "desirable_weight": "KTO: weight of good answers",
    "undesirable_weight": "KTO: weight of bad answers",
    "precompute_ref_log_probs": "ask the reference once, before training",
    "center_rewards_coefficient": "keeps rewards around 0, 0.01 is usual",
    "disable_dropout": "train without dropout, the adapter's included",
    "neftune_noise_alpha": "NEFTune: noise on the embeddings while training, 5 is usual",
    "num_generations": "answers to each question, which are compared with each other",
    "max_completion_length": "longest answer, thought included, in tokens",
    "temperature": "of sampling, and of the log-probabilities that are trained",
    "num_iterations": "times that each rollout is used",
    "use_vllm": "sample answers with vLLM (docs/stages/ppo.md, docs/stages/grpo.md)",
    "bf16": "compute in bfloat16",
    "fp16": "compute in float16 (GPUs before Ampere)",
    "gradient_checkpointing": "recompute activations in the backward pass: less memory, a third slower",
    "logging_steps": "steps between two lines of the log",
    "eval_strategy": "no, steps or epoch",
    "eval_steps": "steps between two evaluations",
    "save_strategy": "no, steps, epoch or best",
    "save_steps": "steps between two checkpoints",
    "save_total_limit": "keep so many checkpoints, newest first",
    "resume_from_checkpoint": "True takes the newest checkpoint that verifies, auto also starts anew; or a path",
    "report_to": "tensorboard, wandb or none",
    "seed": "of everything random",
    "deepspeed": "a DeepSpeed JSON file",
    "ddp_timeout": "seconds until a silent process group is given up",
}
_WIDTH, _COLUMN = 118, 40


def _line(flag: Flag, told: str) -> str:
    also = f" (also {', '.join('--' + alias for alias in flag.aliases)})" if flag.aliases else ""
    among = ""
    if flag.choices and flag.group != "trainer" and not all(choice in told for choice in flag.choices):
        among = f"; one of {', '.join(flag.choices)}"
    default = f" [{flag.default}]" if flag.default else ""
    left = f"  --{flag.name}"
    body = textwrap.wrap(told + among + default + also, _WIDTH - _COLUMN, break_long_words=False) or [""]
    first = f"{left:<{_COLUMN}}{body[0]}" if len(left) < _COLUMN else f"{left}\n{' ' * _COLUMN}{body[0]}"
    return "\n".join([first, *(" " * _COLUMN + rest for rest in body[1:])])


def text(flags: list[Flag], description: str, program: str) -> str:
    """The whole help text of a script with these flags."""
    parts = [f"usage: python {program} [RECIPE.yaml] [--flag value ...]\n", description.strip() + "\n"]
    for group in dict.fromkeys(flag.group for flag in flags):
        members = [flag for flag in flags if flag.group == group]
        if group == "trainer":
            by_name = {flag.name: flag for flag in members}
            lines = [_line(by_name[name], told) for name, told in COMMON.items() if name in by_name]
            others = ", ".join(name for name in by_name if name not in COMMON)
            lines += ["", *textwrap.wrap(f"and, explained in docs/flags.md: {others}", _WIDTH - 2, initial_indent="  ",
                                         subsequent_indent="  ")]  # fmt: skip
        else:
            lines = [_line(flag, flag.help) for flag in members]
        parts.append("\n".join([_TITLES.get(group, group.capitalize()), *lines]) + "\n")
    parts.append("Defaults stand in brackets. --config RECIPE.yaml does the same as naming the recipe first.\n")
    return "\n".join(parts)
