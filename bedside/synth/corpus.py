"""The pretraining corpus: a tokenizer made from our documents, and the documents as one array of token ids."""

import multiprocessing
import os
import random

from bedside.synth import documents

END_OF_TEXT, PAD = "<|endoftext|>", "<|pad|>"
SPECIAL = [END_OF_TEXT, "<|im_start|>", "<|im_end|>", PAD]
MARKS = ["<think>", "</think>", "<tool_call>", "</tool_call>"]  # ordinary tokens: a reader of the answer must see them
# How Qwen's tokenizers split text before merging, so that templates meet the same boundaries here as there.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CONTEXT = 2048  # what the model may be asked to read
CHUNK = 2000  # documents that one worker renders at a time; each chunk has its own seed
TOKENIZER_DOCUMENTS = 40_000


def make_tokenizer(rows: list[dict], seed: int, vocab_size: int, count: int = TOKENIZER_DOCUMENTS):
    """A byte-level BPE tokenizer of our documents, with the chat tokens present but unused and no chat template."""
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        trainers,
    )
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.NFC()
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLIT), "isolated"), byte_level])
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(MARKS),
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = in_paragraphs(documents.documents(rows, count, f"tokenizer-{seed}"), f"tokenizer-{seed}")
    core.train_from_iterator(texts, trainer, length=count)
    core.add_tokens([AddedToken(mark, normalized=False, special=False) for mark in MARKS])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=END_OF_TEXT,
        pad_token=PAD,
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


_WORKER: dict = {}  # what one worker process keeps between chunks


def _start_worker(core_json: str, rows: list[dict], seed: int) -> None:
    from tokenizers import Tokenizer

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one process per core already
    _WORKER.update(core=Tokenizer.from_str(core_json), rows=rows, seed=seed)


def _chunk_ids(job: tuple[int, int]):
    """The ids of one chunk of documents."""
    number, count = job
    seed = f"{_WORKER['seed']}-chunk-{number}"
    return flat_ids(_WORKER["core"], list(in_paragraphs(documents.documents(_WORKER["rows"], count, seed), seed)))


def in_paragraphs(texts, seed: str):
    """One document in eight joined to the next by a line break or an empty line: a base should know both."""
    rng, waiting = random.Random(f"{seed}-paragraphs"), ""
    for text in texts:
        text, waiting = waiting + text, ""
        if rng.random() < 0.125:
            waiting = text + rng.choice(("\n", "\n\n"))
        else:
            yield text
    if waiting:
        yield waiting.rstrip("\n")


def flat_ids(core, texts: list[str]):
    """Texts as one uint16 array, each closed by the end-of-text token."""
    import numpy as np

    end = core.token_to_id(END_OF_TEXT)
    ids = [piece for encoding in core.encode_batch_fast(texts) for piece in (*encoding.ids, end)]
    return np.array(ids, dtype=np.uint16)


def tokenised(tokenizer, rows: list[dict], count: int, seed: int, processes: int | None = None):
    """All training documents as one uint16 array; the same for any number of processes."""
    import numpy as np

    jobs = [(number, min(CHUNK, count - start)) for number, start in enumerate(range(0, count, CHUNK))]
    setup = (tokenizer.backend_tokenizer.to_str(), rows, seed)
    processes = min(processes or os.cpu_count() or 1, len(jobs))
    if processes == 1:
        _start_worker(*setup)
        return np.concatenate([_chunk_ids(job) for job in jobs])
    # Spawned, not forked: a fork of a process that has threads (torch, tokenizers) may hang.
    with multiprocessing.get_context("spawn").Pool(processes, _start_worker, setup) as pool:
        return np.concatenate(pool.map(_chunk_ids, jobs, chunksize=1))
