"""Shapes of well-known models, from their config.json files; a name that is not here is read from disk or cache.

`(hub name, model_type, layers, hidden, intermediate, heads, key heads, head size, vocabulary, tied)`
"""

from __future__ import annotations

_ROWS = """
Qwen/Qwen1.5-4B qwen2 40 2560 6912 20 20 128 151936 -
Qwen/Qwen1.5-7B qwen2 32 4096 11008 32 32 128 151936 -
Qwen/Qwen1.5-14B qwen2 40 5120 13696 40 40 128 152064 -
Qwen/Qwen2-0.5B qwen2 24 896 4864 14 2 64 151936 tied
Qwen/Qwen2-1.5B qwen2 28 1536 8960 12 2 128 151936 tied
Qwen/Qwen2-7B qwen2 28 3584 18944 28 4 128 152064 -
Qwen/Qwen2-72B qwen2 80 8192 29568 64 8 128 152064 -
Qwen/Qwen2.5-0.5B qwen2 24 896 4864 14 2 64 151936 tied
Qwen/Qwen2.5-1.5B qwen2 28 1536 8960 12 2 128 151936 tied
Qwen/Qwen2.5-3B qwen2 36 2048 11008 16 2 128 151936 tied
Qwen/Qwen2.5-7B qwen2 28 3584 18944 28 4 128 152064 -
Qwen/Qwen2.5-14B qwen2 48 5120 13824 40 8 128 152064 -
Qwen/Qwen2.5-32B qwen2 64 5120 27648 40 8 128 152064 -
Qwen/Qwen2.5-72B qwen2 80 8192 29568 64 8 128 152064 -
Qwen/Qwen3-0.6B qwen3 28 1024 3072 16 8 128 151936 tied
Qwen/Qwen3-1.7B qwen3 28 2048 6144 16 8 128 151936 tied
Qwen/Qwen3-4B qwen3 36 2560 9728 32 8 128 151936 tied
Qwen/Qwen3-8B qwen3 36 4096 12288 32 8 128 151936 -
Qwen/Qwen3-14B qwen3 40 5120 17408 40 8 128 151936 -
Qwen/Qwen3-32B qwen3 64 5120 25600 64 8 128 151936 -
meta-llama/Llama-2-7b-hf llama 32 4096 11008 32 32 128 32000 -
meta-llama/Llama-2-13b-hf llama 40 5120 13824 40 40 128 32000 -
meta-llama/Llama-2-70b-hf llama 80 8192 28672 64 8 128 32000 -
meta-llama/Meta-Llama-3-8B llama 32 4096 14336 32 8 128 128256 -
meta-llama/Meta-Llama-3-70B llama 80 8192 28672 64 8 128 128256 -
meta-llama/Llama-3.1-8B llama 32 4096 14336 32 8 128 128256 -
meta-llama/Llama-3.1-70B llama 80 8192 28672 64 8 128 128256 -
meta-llama/Llama-3.2-1B llama 16 2048 8192 32 8 64 128256 tied
meta-llama/Llama-3.2-3B llama 28 3072 8192 24 8 128 128256 tied
mistralai/Mistral-7B-v0.1 mistral 32 4096 14336 32 8 128 32000 -
mistralai/Mistral-7B-v0.3 mistral 32 4096 14336 32 8 128 32768 -
mistralai/Mistral-Nemo-Base-2407 mistral 40 5120 14336 32 8 128 131072 -
mistralai/Mistral-Small-24B-Base-2501 mistral 40 5120 32768 32 8 128 131072 -
mistralai/Ministral-8B-Instruct-2410 mistral 36 4096 12288 32 8 128 131072 -
google/gemma-2b gemma 18 2048 16384 8 1 256 256000 tied
google/gemma-7b gemma 28 3072 24576 16 16 256 256000 tied
google/gemma-2-2b gemma2 26 2304 9216 8 4 256 256000 tied
google/gemma-2-9b gemma2 42 3584 14336 16 8 256 256000 tied
google/gemma-2-27b gemma2 46 4608 36864 32 16 128 256000 tied
google/gemma-3-1b-it gemma3_text 26 1152 6912 4 1 256 262144 tied
google/medgemma-27b-text-it gemma3_text 62 5376 21504 32 16 128 262144 tied
microsoft/Phi-3-mini-4k-instruct phi3 32 3072 8192 32 32 96 32064 -
microsoft/Phi-3-medium-4k-instruct phi3 40 5120 17920 40 10 128 32064 -
microsoft/phi-4 phi3 40 5120 17920 40 10 128 100352 -
microsoft/Phi-4-mini-instruct phi3 32 3072 8192 24 8 128 200064 tied
01-ai/Yi-6B llama 32 4096 11008 32 4 128 64000 -
01-ai/Yi-1.5-9B llama 48 4096 11008 32 4 128 64000 -
01-ai/Yi-34B llama 60 7168 20480 56 8 128 64000 -
zai-org/glm-4-9b-chat-hf glm 40 4096 13696 32 2 128 151552 -
zai-org/GLM-4-9B-0414 glm4 40 4096 13696 32 2 128 151552 -
zai-org/GLM-4-32B-0414 glm4 61 6144 23040 48 2 128 151552 -
deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B qwen2 28 1536 8960 12 2 128 151936 -
deepseek-ai/DeepSeek-R1-Distill-Qwen-7B qwen2 28 3584 18944 28 4 128 152064 -
deepseek-ai/DeepSeek-R1-Distill-Qwen-14B qwen2 48 5120 13824 40 8 128 152064 -
deepseek-ai/DeepSeek-R1-Distill-Qwen-32B qwen2 64 5120 27648 40 8 128 152064 -
deepseek-ai/DeepSeek-R1-Distill-Llama-8B llama 32 4096 14336 32 8 128 128256 -
deepseek-ai/DeepSeek-R1-Distill-Llama-70B llama 80 8192 28672 64 8 128 128256 -
"""
_NAMES = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads",
          "head_dim", "vocab_size")  # fmt: skip


def _config(words: list[str]) -> dict:
    widths = dict(zip(_NAMES, map(int, words[2:9]), strict=True))
    bias = {"attention_bias": True} if words[1] in ("glm", "glm4") else {}
    return {"model_type": words[1], **widths, "tie_word_embeddings": words[9] == "tied", **bias}


# By hub name; what a config.json would hold, as far as it matters here.
CONFIGS = {words[0]: _config(words) for words in map(str.split, _ROWS.strip().splitlines())}
# Names whose shape is that of a model above; a name is written as `plain` leaves it.
SAME_SHAPE = {
    "qwq32b": "Qwen/Qwen2.5-32B", "deepseekr10528qwen38b": "Qwen/Qwen3-8B", "llama3.370b": "meta-llama/Llama-3.1-70B",
    "mistral7bv0.2": "mistralai/Mistral-7B-v0.1", "mistral7b": "mistralai/Mistral-7B-v0.3",
    "phi3mini": "microsoft/Phi-3-mini-4k-instruct", "phi3mini128k": "microsoft/Phi-3-mini-4k-instruct",
    "phi3.5mini": "microsoft/Phi-3-mini-4k-instruct", "phi3medium128k": "microsoft/Phi-3-medium-4k-instruct",
    "yi1.56b": "01-ai/Yi-6B", "yi9b": "01-ai/Yi-1.5-9B", "yi1.534b": "01-ai/Yi-34B",
    "vicuna7bv1.5": "meta-llama/Llama-2-7b-hf", "vicuna13bv1.5": "meta-llama/Llama-2-13b-hf",
    "biomistral7b": "mistralai/Mistral-7B-v0.1", "huatuogpto17b": "Qwen/Qwen2.5-7B",
    "huatuogpto18b": "meta-llama/Llama-3.1-8B", "huatuogpto170b": "meta-llama/Llama-3.1-70B",
    "huatuogpto172b": "Qwen/Qwen2.5-72B", "glmz19b0414": "zai-org/GLM-4-9B-0414",
}  # fmt: skip
# Tokens that a model was made for, of those with few; others take what fits a card.
PLACES = {
    **dict.fromkeys((name for name in CONFIGS if name.startswith(("meta-llama/Llama-2-", "01-ai/Yi-"))), 4096),
    **dict.fromkeys((name for name in CONFIGS if name.startswith(("meta-llama/Meta-Llama-3-", "google/gemma-2"))),
                    8192),
    "google/gemma-7b": 8192, "microsoft/Phi-3-mini-4k-instruct": 4096, "microsoft/Phi-3-medium-4k-instruct": 4096,
    "microsoft/phi-4": 16384,
}  # fmt: skip
# Mixtures of experts people may name: parameters in billions, and those that work on one token (from their cards).
MIXTURES = {
    "Qwen/Qwen3-30B-A3B": (30.5, 3.3), "Qwen/Qwen3-235B-A22B": (235.1, 22.2),
    "Qwen/Qwen3-Next-80B-A3B": (80.0, 3.0), "mistralai/Mixtral-8x7B-v0.1": (46.7, 12.9),
    "mistralai/Mixtral-8x22B-v0.1": (140.6, 39.0), "deepseek-ai/DeepSeek-V3": (671.0, 37.0),
    "deepseek-ai/DeepSeek-V3-0324": (671.0, 37.0), "deepseek-ai/DeepSeek-V3.1": (671.0, 37.0),
    "deepseek-ai/DeepSeek-V2-Lite": (15.7, 2.4), "deepseek-ai/DeepSeek-V2": (236.0, 21.0),
    "deepseek-ai/DeepSeek-R1": (671.0, 37.0), "deepseek-ai/DeepSeek-R1-0528": (671.0, 37.0),
    "openai/gpt-oss-20b": (20.9, 3.6), "openai/gpt-oss-120b": (116.8, 5.1), "zai-org/GLM-4.5-Air": (106.0, 12.0),
    "meta-llama/Llama-4-Scout-17B-16E": (109.0, 17.0), "meta-llama/Llama-4-Maverick-17B-128E": (400.0, 17.0),
}  # fmt: skip
_FOREIGN = "its code is not in transformers but in its own repository, and such code is never run here"
_PLAIN_MLP = "it is no Llama-shaped decoder (no gated MLP), and its memory is not counted here"
# Names that are not counted, with the reason; searched for in a name in lower case.
REFUSED = {
    r"chatglm|\bglm-4-9b(-chat)?(-1m)?$|baichuan|internlm|^qwen-(1_8|7|14|72)b": _FOREIGN,
    r"\bbloomz?\b|gpt-?2|\bgpt-(j|neo)|pythia|falcon|\bopt-|\bphi-(1|2)|\bmpt-": _PLAIN_MLP,
    r"-vl\b|vision|omni|audio|llava|medgemma-(1\.5-)?(4b|27b(?!-text))|\bgemma-3-(4|12|27)b|gemma-3n|small-3\.1": "it "
    "has parts for images or sound beside its decoder, which are not counted here",
    r"mamba|qwen3\.5|qwen3-next|kimi-linear|\brwkv": "its attention is not that of Llama-shaped decoders, and its "
    "memory is not counted here",
}
# Layers of a family: norms of the hidden width, norms of the head size, biases of q, k and v, whether the fused
# kernels know it (bedside/kernels/decoder.py).
FAMILIES = {
    "llama": (2, 0, False, True),
    "mistral": (2, 0, False, True),
    "qwen2": (2, 0, True, True),
    "qwen3": (2, 2, False, True),
    "gemma": (2, 0, False, False),
    "gemma2": (4, 0, False, False),
    "gemma3_text": (4, 2, False, False),
    "phi3": (2, 0, False, False),
    "glm": (2, 0, False, False),
    "glm4": (4, 0, False, False),
}
