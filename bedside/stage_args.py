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
class RolloutArguments:
    """What stages that sample answers (PPO, GRPO) keep of them, and when they are stopped."""

    max_source_length: int = flag(
        1024,
        "longest question in tokens, history and template included; older turns are left out to fit",
        ("max_prompt_length",),
    )
    samples_kept: int = flag(4, "answers of each rollout that samples.jsonl and TensorBoard show; 0 keeps none")
    log_completions: bool = flag(False, "print these answers too")
    exam_samples: int | None = flag(None, "answer so many held-out questions before and after (default: all; 0: none)")
    exam_temperature: float = flag(
        0.0, "answer them greedily (0), or draw the answers at this temperature, as while training"
    )
    alarm_kl: float = flag(50.0, "stop when the KL to the reference is above this, in nats an answer; 0: never")
    alarm_kl_rise: float = flag(10.0, "stop when the KL jumps by this factor; 0: never")
    alarm_cut: float = flag(0.5, "stop when this share of answers is cut that was not at the start; 0: never")
    alarm_shrink: float = flag(0.2, "stop when answers shrink below this share of their first length; 0: never")
    alarm_hacking: float = flag(
        0.2, "stop when this share of answers lost the strict format while the reward rose; 0: never"
    )
    alarm_entropy: float = flag(
        0.1, "stop when the entropy falls below this share of the start's and the reward does not rise; 0: never"
    )
    alarm_entropy_floor: float = flag(0.001, "stop when the entropy falls below this, in nats a token; 0: never")
    alarm_window: int = flag(8, "rollouts that an alarm compares with as many at the start")


@dataclass
class RewardArguments:
    """What an answer is rewarded for, where that can be verified (docs/rewards.md), and the judge, a reward too."""

    reward_funcs: str | None = flag(
        "accuracy,format",
        "rewards, joined by commas: accuracy, choice, diagnosis, number, format, length, repetition, language, "
        "red_flags, judge, or a function of yours as path/to/file.py:function",
        ("reward_functions",),
    )
    reward_weights: str | None = flag(
        None, "their weights, joined by commas (default: 1 for what verifies an answer, 0.2 for its form)"
    )
    alias_file: str | None = flag(
        None, 'other names of conditions, drugs ...: JSON lines of {"name": "...", "aliases": ["..."]}'
    )
    choice_partial: float = flag(
        0.0, "what some of several right options earn, with no wrong one among them (0: all or nothing)"
    )
    length_min: int = flag(32, "with the reward length: fewer tokens earn less, thought included")
    length_max: int = flag(512, "with the reward length: more tokens earn less; twice as many earn nothing")
    judge_url: str | None = flag(
        None, "with the reward judge: an OpenAI-compatible server, as http://127.0.0.1:8000/v1", ("judge_base_url",)
    )
    judge_model: str | None = flag(None, "with the reward judge: the model that judges")
    judge_key_variable: str = flag("OPENAI_API_KEY", "environment variable that holds the judge's key")
    judge_timeout: float = flag(60.0, "seconds to wait for a judgement")
    judge_retries: int = flag(4, "times to ask again after a timeout, 429 or 5xx, waiting longer each time")
    judge_concurrency: int = flag(8, "judgements asked for at the same time")
    judge_cache: str | None = flag(
        None, "judgements are kept here, and never asked for again (default: judge_cache.jsonl in --output_dir)"
    )
    judge_max_failures: float = flag(0.2, "stop if more than this share of the judgements fails")
    judge_rubric: str | None = flag(None, "a file with your own instructions for the judge (docs/rewards.md)")
    judge_price_in: float = flag(0.0, "what a million tokens cost that the judge reads; the total is printed")
    judge_price_out: float = flag(0.0, "what a million tokens cost that the judge writes")


@dataclass
class GroupArguments:
    """What only training on groups of answers (GRPO, RLOO) has."""

    algorithm: str = flag(
        "grpo", "grpo, or rloo: an answer is compared with the others to its question", (), ("grpo", "rloo")
    )
    allow_checkpoint_reference: bool = flag(
        False, "start anew from a checkpoint of the same stage, which then is the reference"
    )


@dataclass
class PPOArguments:
    """What only PPO has."""

    reward_model_path: str | None = flag(
        None,
        "reward model: an adapter on the policy's own base (which then is shared), or any sequence classifier",
        ("reward_model", "reward_model_name_or_path"),
    )
    reward_model_weight: float = flag(1.0, "weight of its score beside --reward_funcs")
    share_reward_base: str = flag(
        "auto", "whether a reward adapter is put on the policy's base", (), ("auto", "yes", "no")
    )
    reward_template_name: str | None = flag(None, "template of a reward model with a base of its own, if not its own")
    allow_checkpoint_reference: bool = flag(
        False, "start anew from a checkpoint of the same stage, which then is the reference"
    )


@dataclass
class EvalArguments:
    """Questions that are answered before and after a training."""

    eval_file: str | None = flag(None, "questions with expected names: prints a before/after table (run_sft.sh)")
    eval_samples: int | None = flag(None, "take this many of its questions, evenly spread (default: all)")
    eval_max_new_tokens: int = flag(256, "longest answer of that table, in tokens")
