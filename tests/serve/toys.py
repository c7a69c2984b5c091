"""Toy tokenizers that hold every family's tokens, and seeded models to serve them with.

One is byte-level BPE as Qwen's and Llama 3's, one is BPE over `▁` words with byte fallback as Llama 2's.
"""

import json
from pathlib import Path

from bedside import templates

TEXT = [
    "患者发热咳嗽三天，应该怎么办？先测体温，再听诊肺部。建议多喝水，注意休息，必要时到医院就诊。",
    "The patient has had a fever and a cough for three days. First measure the temperature, then listen to the chest.",
    'User: hello\nAssistant: {"name": "find", "arguments": {}}\n\n### Instruction:\n### Response:\n[INST] [/INST]',
] * 4
_SHARED = ("<unk>", "<s>", "</s>", "<pad>")
WIDTH = 4096  # tokens of context: byte tokens make long prompts


def family_tokens() -> list[str]:
    """Every token that a registered template names, in a fixed order."""
    rows = templates.REGISTRY.values()
    named = [token for row in rows for token in (*row.required_tokens, row.turn_end, *row.extra_stops)]
    return [token for token in dict.fromkeys(named) if token not in (*_SHARED, "eos_token")]


def _wrapped(core, directory: Path):
    """The tokenizer in transformers' form, saved; it puts BOS in front of plain text, as Llama's do."""
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    core.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", core.token_to_id("<s>"))])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    tokenizer.save_pretrained(directory)
    return tokenizer


def byte_level(directory: Path):
    """Byte-level BPE with one special token for every name of `family_tokens`, saved in `directory`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = [*_SHARED, *family_tokens()]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=len(special) + 456, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(TEXT, trainer)
    return _wrapped(core, directory)


def sentencepiece_like(directory: Path):
    """BPE over `▁` words with byte fallback, a `▁` in front of every piece of text, as Llama 2's; saved."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    core.decoder = decoders.Sequence(steps)
    special = [*_SHARED, *(f"<0x{number:02X}>" for number in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=len(special) + 500, special_tokens=special, show_progress=False)
    core.train_from_iterator(TEXT, trainer)
    # Learnt word by word, as SentencePiece learns; at work the whole text is one piece, with `▁` in front of it.
    core.pre_tokenizer = None
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    state = json.loads(core.to_str())  # bytes are ordinary tokens, which no text spells out
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in _SHARED]
    core = Tokenizer.from_str(json.dumps(state))
    core.add_special_tokens([AddedToken(token, normalized=False) for token in family_tokens()])
    return _wrapped(core, directory)


def model_of(kind: str, tokenizer, directory: Path) -> Path:
    """A random model (`kind` is "qwen3" or "llama") of two layers for `tokenizer`, saved in `directory`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    configs = {"qwen3": (Qwen3Config, Qwen3ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}
    make_config, make_model = configs[kind]
    torch.manual_seed(0)
    config = make_config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=WIDTH, tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    make_model(config).to(torch.bfloat16).save_pretrained(directory)
    return directory
