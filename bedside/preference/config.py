"""The flags of PairTrainer. `bedside.trainer_flags` reads this file as text; it is imported late."""

from dataclasses import dataclass, field

from transformers import TrainingArguments


@dataclass
class PairConfig(TrainingArguments):
    """The trainer's own flags, and those of losses on pairs that need no reference."""

    loss_type: str = field(default="orpo", metadata={"help": "The loss: orpo or simpo.", "choices": ["orpo", "simpo"]})
    beta: float = field(
        default=0.1,
        metadata={
            "help": "ORPO: weight of the odds ratio beside the likelihood (lambda). SimPO: scale of the reward."
        },
    )
    simpo_gamma: float = field(
        default=0.5, metadata={"help": "SimPO: the margin by which a chosen answer's reward should win."}
    )
    max_length: int | None = field(
        default=2048,
        metadata={"help": "Longest question and answer together, in tokens; longer rows are left out and counted."},
    )
    disable_dropout: bool = field(
        default=True, metadata={"help": "Train without dropout, that of the adapter included."}
    )
    dataset_num_proc: int | None = field(
        default=None, metadata={"help": "Accepted: pairs are tokenized in one process, thousands a second."}
    )
