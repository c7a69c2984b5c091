"""Toy tokenizers of the kinds that families use, with the special tokens of all, trained on a few sentences."""

import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from bedside import templates

_TEXT = [
    "患者发热咳嗽三天，先测体温。头晕怎么办？需要吃药吗？请先就医检查。建议多喝水。",
    "The patient has had a fever for three days; drink water. User: Assistant: USER: ASSISTANT: Human: Bot: ",
    "### Instruction:\n问\n\n### Response:\n答\n\n[Round 1]\n\n问：头晕\n\n答：休息\n",
    "<think>\n想\n</think>\n\n答 [INST] 问 [/INST] 答 <<SYS>>\n系统\n<</SYS>>\n\n",
] * 3
# Llama 3 and Qwen cut text so; newlines stay together whatever follows.
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
KINDS = ("gpt2", "llama3", "llama2", "gemma")
NAMES = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}


def special_tokens() -> list[str]:
    """Those of every family, turn ends and stops included."""
    found: set[str] = set()
    for row in templates.REGISTRY.values():
        found |= {*row.required_tokens, *row.extra_stops, row.turn_end}
    return [*NAMES.values(), *sorted(found - {"eos_token", *NAMES.values()}), "<｜User｜>", "<｜Assistant｜>"]


def core(kind: str) -> Tokenizer:
    """`gpt2`: byte-level with GPT-2's cuts; `llama3`: byte-level with its own; `llama2`: SentencePiece-like, a blank
    in front of the text; `gemma`: SentencePiece-like without it."""
    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=kind in ("llama2", "gemma")))
    alphabet = []
    if kind == "gpt2":
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    elif kind == "llama3":
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_LLAMA3), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    elif kind == "llama2":
        # SentencePiece learns no piece that crosses a blank, but cuts at none when it encodes.
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
        made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), decoders.Metaspace()])
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=True)
        made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = special_tokens()
    if kind in ("gpt2", "llama3"):
        made.decoder, alphabet = decoders.ByteLevel(), pre_tokenizers.ByteLevel.alphabet()
    else:
        special += [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=800, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(_TEXT, trainer)
    if kind == "llama2":
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    elif kind == "gemma":
        made.pre_tokenizer, made.normalizer = None, normalizers.Replace(" ", "▁")
    return _bytes_as_bytes(made) if kind in ("llama2", "gemma") else made


def _bytes_as_bytes(made: Tokenizer) -> Tokenizer:
    """The same with `<0x..>` in the vocabulary, but not as special tokens: nobody types them."""
    state = json.loads(made.to_str())
    state["added_tokens"] = [t for t in state["added_tokens"] if not t["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(state))


def tokenizer(kind: str):
    """A Hugging Face fast tokenizer of this kind."""
    from transformers import PreTrainedTokenizerFast

    made = core(kind)
    made.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in ("<think>", "</think>")])
    return PreTrainedTokenizerFast(tokenizer_object=made, **NAMES)
