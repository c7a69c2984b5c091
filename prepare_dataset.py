"""Prepared data for a training run, made without a model: tokenized and packed once, used by every run like it.

    python prepare_dataset.py recipes/starter_sft.yaml --prepared_dir prepared
    python supervised_finetuning.py recipes/starter_sft.yaml --prepared_dir prepared

Takes the flags of supervised_finetuning.py, so that what it makes is what that run would make; flags that do not touch
data change nothing. No model is loaded, so a machine without a GPU can do it; of a model directory the tokenizer is
read.

Writes into a directory of its own under --prepared_dir: the packed ids as files that runs map into memory, the
account of every row (ledger.json, rejected.jsonl) and prepared.json, which says what the data was made of. Run it
again, or the training, and it is used again; change a file, the template or a length, and another directory is made
beside it. Into --prepared_dir itself goes a report on the data: data_report.html and data_lengths.png.
"""

from pathlib import Path

from bedside import cli, datareport, errors, logs, models, policy, settle
from bedside.args import AdapterArguments, DataArguments, ModelArguments, RunArguments
from bedside.data import chats, glance, prepared, tokens
from bedside.errors import ConfigError
from bedside.stage_args import ChatArguments, EvalArguments, SupervisedArguments

GROUPS = (
    ModelArguments, AdapterArguments, DataArguments, ChatArguments, SupervisedArguments, EvalArguments, RunArguments,
)  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    """Make the data, or say that it is there."""
    # 1. What is asked for, in the words of a training run.
    args = cli.parse(GROUPS, argv, "SFTConfig", __doc__)
    logs.setup()
    settle.training(args, "sft")
    model, chat, own = args[ModelArguments], args[ChatArguments], args[SupervisedArguments]
    if not own.prepared_dir:
        raise ConfigError("--prepared_dir: name the directory that the prepared data goes to")
    models.check_model_path(model.model_name_or_path)
    adapter, given = args[AdapterArguments], "model_name_or_path" in args.given
    origin = policy.origin_of(model.model_name_or_path, adapter.peft_path, adapter.use_peft, given)
    plan = chats.Plan(**settle.files(args[DataArguments], args.trainer, chat.role_map))
    glance.glance(plan)

    # 2. Tokenizer and template, as that run would take them.
    tokenizer, template = policy.text_side(
        origin, model.tokenizer_name_or_path, settle.loading(model, False), chat.template_name, chat.tool_format,
        chat.allow_template_change,
    )  # fmt: skip
    encoding = tokens.encoding_for(
        tokenizer, template, args.trainer["max_length"], chat.enable_thinking, own.mask_history
    )

    # 3. The data, or the line that says that it is there.
    pack, directory = encoding.max_length if args.trainer.get("packing") else None, Path(own.prepared_dir)
    data = prepared.datasets(
        directory, plan, tokenizer.backend_tokenizer, encoding, pack, args.trainer.get("dataset_num_proc"), directory
    )
    if own.data_report:
        datareport.write(directory, data, encoding.max_length, template.name)


if __name__ == "__main__":
    errors.run_command(main)
