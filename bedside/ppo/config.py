"""The flags of PPOTrainer. `bedside.trainer_flags` reads this file as text; it is imported late."""

from dataclasses import dataclass, field

from transformers import TrainingArguments


@dataclass
class PPOConfig(TrainingArguments):
    """The trainer's own flags, and those of PPO. A rollout is per_device_train_batch_size x
    gradient_accumulation_steps x num_mini_batches answers in each process."""

    response_length: int = field(default=512, metadata={"help": "Longest answer, in tokens, its thought included."})
    total_episodes: int | None = field(
        default=None,
        metadata={"help": "Answers to sample in all (default: --num_train_epochs times the number of questions)."},
    )
    num_ppo_epochs: int = field(default=4, metadata={"help": "Passes over each rollout."})
    num_mini_batches: int = field(
        default=1, metadata={"help": "Optimizer steps in each pass; a rollout grows by this factor."}
    )
    temperature: float = field(default=1.0, metadata={"help": "Temperature of sampling and of log-probabilities."})
    kl_coef: float = field(default=0.05, metadata={"help": "What a nat of distance from the reference costs."})
    adaptive_kl: bool = field(
        default=False, metadata={"help": "Move --kl_coef so that the KL of an answer tends to --target_kl."}
    )
    target_kl: float = field(default=6.0, metadata={"help": "With --adaptive_kl: nats an answer."})
    kl_horizon: int = field(
        default=10000,
        metadata={"help": "With --adaptive_kl: answers in which the coefficient moves by a factor of 1.22 at most."},
    )
    cliprange: float = field(default=0.2, metadata={"help": "Clip range of the ratio of probabilities."})
    cliprange_value: float = field(
        default=0.2, metadata={"help": "Clip range of values, in units of the reward; 0 switches it off."}
    )
    vf_coef: float = field(default=0.5, metadata={"help": "Weight of the critic's loss."})
    gamma: float = field(default=1.0, metadata={"help": "Discount of later rewards."})
    lam: float = field(default=0.95, metadata={"help": "GAE's lambda: 1 trusts rewards alone, 0 the critic alone."})
    critic_learning_rate: float | None = field(
        default=None, metadata={"help": "Peak rate of critic and value head (default: five times --learning_rate)."}
    )
    critic_warmup_rollouts: int = field(default=1, metadata={"help": "Rollouts in which only the critic learns."})
    missing_eos_penalty: float | None = field(
        default=1.0, metadata={"help": "Taken off the reward of an answer that is cut at --response_length."}
    )
    reward_clip: float | None = field(
        default=10.0, metadata={"help": "A reward model's scores are clipped to this, either way."}
    )
    rollout_batch_size: int | None = field(
        default=None,
        metadata={"help": "Answers sampled at a time in each process (default: the rollout, at most 64)."},
    )
    use_vllm: bool = field(
        default=False, metadata={"help": "Sample by a vLLM server (python -m bedside.ppo.vllm_server)."}
    )
    vllm_server_base_url: str = field(
        default="http://127.0.0.1:8000", metadata={"help": "With --use_vllm: where it listens."}
    )
    vllm_server_timeout: float = field(default=240.0, metadata={"help": "With --use_vllm: seconds to wait for it."})
    dataset_num_proc: int | None = field(
        default=None, metadata={"help": "Accepted: questions are tokenized in one process, thousands a second."}
    )
