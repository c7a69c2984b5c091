"""The flags that some stages have and others do not; `args` holds those of all. Spelled and parsed as those."""

from dataclasses import dataclass

from bedside.args import flag
from bedside.templates import TOOL_FORMATS


@dataclass
class ChatArguments:
    """How rows become the text of a chat."""

    template_name: str | None = flag(
        None, "chat template (see docs/templates.md); default: the model's own", ("template",)
    )
    tool_format: str | None = flag(
        None,
        "how tool calls are written, if not as the template does (docs/templates.md)",
        (),
        tuple(TOOL_FORMATS),
    )
    enable_thinking: bool | None = flag(None, "False trains and serves a hybrid model without its thoughts")
    role_map: str | None = flag(None, "roles of a sharegpt file, as patient=user,doctor=assistant")
    allow_template_change: bool = flag(
        False, "go on although the model was trained with another template or tokenizer than this stage uses"
    )
    ignore_pad_token_for_loss: bool = flag(True, "accepted as True: padding is never trained on", (), None, (True,))
    train_on_inputs: bool = flag(
        False, "accepted as False: only answers are trained on", ("train_on_prompt",), None, (False,)
    )


@dataclass
class SupervisedArguments:
    """What only supervised fine-tuning does with its rows."""

    mask_history: bool = flag(
        False, "train the last answer of a chat only; the ones before it are context", ("train_on_last_turn_only",)
    )
    prepared_dir: str | None = flag(
        None,
        "tokenized and packed data is kept here, and used again by runs that would make the same",
        ("tokenized_path", "dataset_prepared_path"),
    )
    data_report: bool = flag(True, "write data_report.html and a histogram of lengths beside the model")


@dataclass
class PretrainArguments:
    """What only continued pretraining does with its documents."""

    txt_documents: str = flag(
        "line", "where a .txt file's documents end: at each line, or at blank lines", (), ("line", "blank_line")
    )


@dataclass
class PairArguments:
    """How long questions and answers may be, where they are counted apart."""

    max_source_length: int | None = flag(
        None,
        "longest question in tokens, history and template included; older turns are left out to fit",
        ("max_prompt_length",),
    )
    max_target_length: int | None = flag(
        None, "longest answer in tokens; a row with a longer one is left out and counted", ("max_completion_length",)
    )


@dataclass
class PreferenceArguments:
    """What training on pairs starts from, and losses that the trainer library does not have."""

    simpo_gamma: float | None = flag(
        None, "with --loss_type simpo: the margin by which a chosen answer should win (default 0.5)"
    )
    pref_loss: str | None = flag(None, "LLaMA-Factory's spelling of --loss_type")
    pref_ftx: float = flag(0.0, "LLaMA-Factory's spelling: weight of the chosen answers' likelihood beside the loss")
    allow_checkpoint_reference: bool = flag(
        False, "start anew from a checkpoint of the same stage, which then is the reference"
    )


@dataclass
class OddsRatioArguments:
    """What only ORPO has."""

    orpo_beta: float = flag(
        0.1,
        "weight of the odds ratio beside the likelihood of chosen answers (the paper's lambda)",
        ("beta", "pref_beta", "orpo_alpha"),
    )
    loss_type: str = flag("orpo", "accepted: the loss of this stage", ("pref_loss",), ("orpo",))
    simpo_gamma: float | None = flag(None, "belongs to dpo_training.py --loss_type simpo", (), None, (None,))
    pref_ftx: float = flag(0.0, "accepted as 0: the likelihood of chosen answers is part of ORPO", (), None, (0.0,))


@dataclass
class LabelArguments:
    """What only training on labelled answers (KTO) has."""

    allow_checkpoint_reference: bool = flag(
        False, "start anew from a checkpoint of the same stage, which then is the reference"
    )
    pref_loss: str | None = flag(None, "accepted as kto: the loss is --loss_type", (), ("kto",))
    pref_ftx: float = flag(0.0, "accepted as 0: an answer's likelihood is not trained beside KTO", (), None, (0.0,))


@dataclass
class EvalArguments:
    """Questions that are answered before and after a training."""

    eval_file: str | None = flag(None, "questions with expected names: prints a before/after table (run_sft.sh)")
    eval_samples: int | None = flag(None, "take this many of its questions, evenly spread (default: all)")
    eval_max_new_tokens: int = flag(256, "longest answer of that table, in tokens")
