"""The flags of the data commands: one dataclass a command, spelled and parsed as those of `args`."""

from dataclasses import dataclass

from bedside.args import flag


@dataclass
class VocabularyArguments:
    """Which words a tokenizer learns, and for which model."""

    base_tokenizer_path: str | None = flag(
        None,
        "tokenizer that learns: model directory or hub name (default: the model's)",
        ("tokenizer_name_or_path", "tokenizer_path"),
    )
    domain_file_path: str | None = flag(None, "words, one a line, with a count behind them if known")
    in_file: list | None = flag(None, "raw texts to find words in, files and directories, joined by commas")
    output_dir: str = flag("", "where the tokenizer (and model) goes", ("domain_sp_model_name",))
    model_name_or_path: str | None = flag(
        None, "model that gets rows for the new tokens, written beside the tokenizer", ("base_model",)
    )
    model_revision: str = flag("main", "branch, tag or commit of a hub model", ("revision",))
    cache_dir: str | None = flag(None, "where downloaded models are kept")
    text_file: list | None = flag(
        None,
        "texts that words are counted and tokens measured in, joined by commas (default: data/pretrain, or --in_file)",
    )
    encoding: str | None = flag(None, "encoding of the files if not UTF-8, such as gb18030")
    method: str = flag(
        "auto",
        "merges: the tokenizer's own BPE learns; added: words are looked for before it; auto: merges for a BPE",
        (),
        ("auto", "merges", "added"),
    )
    min_count: int | None = flag(None, "leave out words seen less often (default: 0, 10 with --in_file)")
    max_new_tokens: int | None = flag(None, "at most this many new tokens, the steps included", ("vocab_size",))
    max_word_length: int = flag(8, "longest Chinese word, in characters")
    rows_multiple_of: int = flag(8, "if a model has to grow, to a multiple of this")
    overwrite_output_dir: bool = flag(False, "replace what an earlier run of this command left in --output_dir")


@dataclass
class DownloadArguments:
    """What is fetched, from where, and into which directory."""

    name: list | None = flag(None, "model to fetch; as the word in front of the first flag")
    model: str | None = flag(None, "model to fetch, such as Qwen/Qwen3-0.6B", ("model_name_or_path", "model_id"))
    dataset: str | None = flag(None, "dataset to fetch instead", ("dataset_name", "dataset_id"))
    source: str = flag("huggingface", "huggingface or modelscope", ("hub",), ("huggingface", "modelscope"))
    revision: str | None = flag(None, "branch, tag or commit (default: what main is now, written down as a commit)")
    output_dir: str | None = flag(None, "where it goes (default: models/NAME or data/NAME)", ("local_dir", "save_dir"))
    include: list | None = flag(None, "only files like these (*.json), joined by commas", ("allow_patterns",))
    exclude: list | None = flag(None, "no files like these, joined by commas", ("ignore_patterns",))
    pickle: bool = flag(False, "also fetch .bin and .pt weights: pickle files, which can run code when loaded")
    workers: int = flag(4, "files fetched at once", ("max_workers",))
    dry_run: bool = flag(False, "only tell what would be fetched, and how large it is")


@dataclass
class CleanArguments:
    """Which rows are cleaned, of what, and where they go."""

    input_file: list | None = flag(
        None, "files and directories, joined by commas; or as words in front of the first flag", ("in_file", "paths")
    )
    output_file: str = flag("", "where the kept rows go: .jsonl, .json, .csv, .parquet ...", ("out_file",))
    ledger_dir: str | None = flag(None, "where the account of every row goes (default: OUTPUT_FILE.ledger)")
    steps: list | None = flag(
        None,
        "only these, joined by commas: mojibake, normalise, private, length, repeated, language, mismatch, "
        "contamination, duplicates, near_duplicates (default: all)",
    )
    against: list | None = flag(None, "evaluation files whose questions may not stand in the rows, joined by commas")
    private: str = flag("mask", "what becomes of private data", (), ("mask", "refuse", "off"))
    min_chars: int | None = flag(None, "fewest characters of questions and answers together")
    max_chars: int | None = flag(None, "most characters of questions and answers together")
    languages: list | None = flag(None, "languages to keep, joined by commas: zh, en, other (default: all)")
    near_duplicate_threshold: float = flag(0.8, "similarity from which on two rows are near duplicates, 0.5 to 1")
    contamination_share: float = flag(0.8, "share of an evaluation question that makes a row contaminated, 0.5 to 1")
    drop_mojibake: bool = flag(False, "remove rows with characters whose bytes are lost, instead of flagging them")
    drop_mismatch: bool = flag(False, "remove rows whose answer is about something else, instead of flagging them")
    drop_repeated: bool = flag(False, "remove rows with a text that loops, instead of flagging them")
    encoding: str | None = flag(None, "encoding of the files if not UTF-8, such as gb18030")
    columns: str | None = flag(None, "names of a CSV's columns, joined by commas, if it has no header line")
    overwrite_output_file: bool = flag(False, "replace an --output_file that is there", ("overwrite_output",))


@dataclass
class DataReportArguments:
    """Which files are reported on, and for which model and template."""

    paths: list | None = flag(None, "files and directories, joined by commas; or as words in front of the first flag")
    tokenizer: str = flag(
        "models/starter", "model directory or hub name whose tokens are counted",
        ("tokenizer_name_or_path", "tokenizer_path", "model_name_or_path"),
    )  # fmt: skip
    template_name: str | None = flag(None, "chat template; default: the model's own", ("template",))
    max_length: int = flag(2048, "longest sample, in tokens", ("model_max_length", "cutoff_len"))
    output_dir: str = flag("data-report", "where the page, the picture and the ledger go", ("output",))
    encoding: str | None = flag(None, "encoding of the files if not UTF-8, such as gb18030")
    columns: str | None = flag(None, "names of a CSV's columns, joined by commas, if it has no header line")
    role_map: str | None = flag(None, "roles of a sharegpt file, as patient=user,doctor=assistant")
    num_proc: int | None = flag(
        None, "processes that tokenize (default: as many as there are cores, up to 8)",
        ("dataset_num_proc", "preprocessing_num_workers"),
    )  # fmt: skip


@dataclass
class ValidateArguments:
    """Which files are checked, how they are read, and what is mended."""

    paths: list | None = flag(
        None,
        "files and directories, joined by commas; or as words in front of the first flag",
        ("file_path", "input_file"),
    )
    kind: str = flag(
        "auto",
        "what the rows are; auto decides by each file's first row",
        (),
        ("auto", "sft", "preference", "choice", "kto", "prompt", "safety", "text"),
    )
    encoding: str | None = flag(None, "encoding of the files if not UTF-8, such as gb18030")
    columns: str | None = flag(None, "names of a CSV's columns, joined by commas, if it has no header line")
    role_map: str | None = flag(None, "roles of a sharegpt file, as patient=user,doctor=assistant")
    txt_documents: str = flag(
        "line", "where a .txt file's documents end: at each line, or at blank lines", (), ("line", "blank_line")
    )
    max_bad_rate: float = flag(0.0, "up to this share of a file's rows may be unusable before the exit status says so")
    json: bool = flag(False, "print one JSON object a file instead of lines for people")
    fix: list | None = flag(
        None,
        "write each file anew without its bad rows, these repaired, joined by commas: merge_turns (two turns of one "
        "role become one), drop_tail (a last question, a first answer)",
    )
    output_file: str | None = flag(None, "where the rows of --fix go, of one file (default: FILE.fixed.jsonl)")
    output_dir: str | None = flag(None, "directory for the files of --fix (default: beside each file)")
    overwrite_output_file: bool = flag(False, "replace files that an earlier --fix wrote", ("overwrite_output",))
    num_proc: int | None = flag(
        None, "processes that check a big file (default: as many as there are cores, up to 8)",
        ("preprocessing_num_workers",),
    )  # fmt: skip


@dataclass
class ConvertArguments:
    """Which rows are written in which other format."""

    input_file: list | None = flag(
        None, "files and directories, joined by commas; or as words in front of the first flag", ("in_file", "paths")
    )
    output_file: str = flag(
        "", "where they go: .jsonl, .json, .csv, .tsv, .parquet or .txt, and .gz behind it if wanted", ("out_file",)
    )
    to: str | None = flag(
        None,
        "format of the rows that are written, sharegpt for dialogues unless said (docs/data/convert.md)",
        ("format",),
    )
    data_type: str | None = flag(
        None, "MedicalGPT's name for what the input is: accepted, it is recognised by itself",
        (), ("alpaca", "sharegpt", "qa"),
    )  # fmt: skip
    kind: str = flag(
        "auto",
        "what the input's rows are; auto decides by each file's first row",
        (),
        ("auto", "sft", "preference", "choice", "kto", "prompt", "text"),
    )
    template_name: str | None = flag(None, "with --to text: the chat template that writes the text", ("template",))
    lossy: bool = flag(False, "write a row without the fields that have no place in the format, and count them")
    clean: bool = flag(False, "also mend wrong decoding, spell alike, and mask private data, as clean_dataset.py does")
    encoding: str | None = flag(None, "encoding of the files if not UTF-8, such as gb18030")
    columns: str | None = flag(None, "names of a CSV's columns, joined by commas, if it has no header line")
    role_map: str | None = flag(None, "roles of a sharegpt file, as patient=user,doctor=assistant")
    txt_documents: str = flag(
        "line", "where a .txt file's documents end: at each line, or at blank lines", (), ("line", "blank_line")
    )
    max_bad_rate: float = flag(0.01, "the exit status is 1 if more than this share of the rows could not be written")
    overwrite_output_file: bool = flag(False, "replace an --output_file that is there", ("overwrite_output",))
