"""A tokenizer learns the words of a field, from a list or from raw text; a model gets rows for them.

    python build_domain_tokenizer.py --base_tokenizer_path models/starter \\
        --domain_file_path data/vocab/medical_vocab.txt --output_dir tokenizer-extended
    python build_domain_tokenizer.py --model_name_or_path models/starter --in_file data/pretrain \\
        --max_new_tokens 400 --output_dir models/starter-extended

Words become merges of the tokenizer's own BPE (--method added: added tokens). New rows are the mean of the rows that
they replace; texts without new tokens keep their ids, and greedy answers stay as they were until the model is trained.
Prints tokens per character before and after; writes vocabulary.json and, with a model, lineage.json.
"""

import sys
from pathlib import Path

from bedside import cli, errors, logs, models
from bedside.data_args import VocabularyArguments
from bedside.errors import ConfigError
from bedside.vocabulary import extend, output, report, texts, words
from bedside.vocabulary.codec import Codec


def settled(args: VocabularyArguments) -> VocabularyArguments:
    """The flags with one meaning each; ConfigError lists every problem."""
    problems = []
    if not args.domain_file_path and not args.in_file:
        problems.append("no words: give a list with --domain_file_path FILE, or raw text with --in_file FILE")
    if not args.output_dir:
        problems.append("no place for the result: give --output_dir DIRECTORY")
    if not args.base_tokenizer_path and not args.model_name_or_path:
        problems.append("nothing to extend: give --base_tokenizer_path DIRECTORY, or --model_name_or_path")
    for name, least in (("min_count", 0), ("max_new_tokens", 1), ("max_word_length", 2), ("rows_multiple_of", 1)):
        if getattr(args, name) is not None and getattr(args, name) < least:
            problems.append(f"--{name} {getattr(args, name)}: expected at least {least}")
    if problems:
        raise ConfigError(problems)
    for flag in ("base_tokenizer_path", "model_name_or_path"):
        if getattr(args, flag):
            models.check_model_path(getattr(args, flag), f"--{flag}")
    if not args.text_file:
        args.text_file = args.in_file or (["data/pretrain"] if Path("data/pretrain").is_dir() else [])
    if args.min_count is None:
        args.min_count = 10 if args.in_file else 0
    return args


def main(argv: list[str] | None = None) -> int:
    # 1. Words and texts; nothing heavy is loaded until they are known to be usable.
    args = settled(cli.parse((VocabularyArguments,), argv, None, __doc__)[VocabularyArguments])
    logs.setup()
    measured = texts.read(args.text_file, args.encoding)
    lines = list(words.lines_of(args.domain_file_path, args.encoding)) if args.domain_file_path else []
    directory = output.prepare(args.output_dir, args.overwrite_output_dir)

    # 2. The tokenizer as it is, and what it does not know yet.
    origin = output.origin_of(args.base_tokenizer_path, args.model_name_or_path, args.model_revision, args.cache_dir)
    codec = Codec(origin.backend, extend.method_for(origin.backend, args.method) == "merges")
    listed, account = words.from_list(lines, set(origin.controls), args.max_word_length)
    raw = (
        [text for batch in texts.read(args.in_file, args.encoding).values() for text in batch] if args.in_file else []
    )
    found = extend.found_words(raw, args.min_count, args.max_word_length, {word.text for word in listed})
    if args.min_count or args.max_new_tokens:
        extend.count(listed, [text for batch in measured.values() for text in batch])
    chosen = extend.choose([*listed, *found], codec, account, args.min_count, args.max_new_tokens)
    extended = extend.learn(chosen, codec, account)
    for line in output.summary(extended, account, len(found)):
        logs.info(line)
    if not extended.words:
        raise ConfigError("no new word is left, so nothing was written; the lines above tell why")

    # 3. What it does to texts.
    if lines:
        measured |= {args.domain_file_path: [text for _, text in lines if text.strip()]}
    table, seen = report.measure(measured, codec.backend, extended.after.backend, set(extended.pieces))
    sys.stdout.write("".join(line + "\n" for line in report.table(table)))
    if measured:
        logs.info(output.usage(extended, seen))

    # 4. Written, read back and compared; a model gets its rows.
    output.start(directory)
    tokenizer = extend.save(extended, origin.tokenizer, directory)
    sections = {"words": output.words_section(extended), "account": account.to_dict(),
                "texts": [item.to_dict() for item in table]}  # fmt: skip
    if origin.model:
        sections["rows"] = output.model(origin, extended, tokenizer, directory, args.rows_multiple_of, measured)
    output.finish(directory, origin, tokenizer, sections, vars(args))
    return 0


if __name__ == "__main__":
    errors.run_command(main)
