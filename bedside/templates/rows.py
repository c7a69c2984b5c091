"""The registry's rows: what each `<name>.jinja` is for, how its turns end, how it thinks."""

from bedside.templates.template import Template, load

_IM = {"turn_end": "<|im_end|>", "required_tokens": ("<|im_start|>", "<|im_end|>")}
_QWEN = {**_IM, "extra_stops": ("<|endoftext|>",)}
_THINKS = {"thinking": "hybrid", "reasoning_parser": "qwen3"}
_HEADERS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
_LLAMA = {"turn_end": "<|eot_id|>", "required_tokens": _HEADERS}
_LLAMA_STOPS = ("<|eom_id|>", "<|end_of_text|>")
_DEEPSEEK = {"extra_stops": ("<｜end▁of▁sentence｜>",)}
_MISTRAL_TOKENS = ("[INST]", "[/INST]")
_GEMMA = {"turn_end": "<end_of_turn>", "extra_stops": ("<eos>",), "supports_system": False}
_GEMMA |= {"required_tokens": ("<start_of_turn>", "<end_of_turn>")}
_GLM = {"turn_end": "<|user|>", "extra_stops": ("<|observation|>", "<|endoftext|>")}
_GLM |= {"required_tokens": ("<|user|>", "<|assistant|>", "<|observation|>")}
_PHI = {"turn_end": "<|end|>", "required_tokens": ("<|user|>", "<|assistant|>", "<|end|>")}

ROWS: tuple[Template, ...] = (
    load("qwen", "Qwen2, Qwen2.5", aliases=("qwen2", "qwen2_5", "qwen2.5", "qwen1_5"), **_QWEN),
    load("qwen_default", "Qwen2.5 with its official default system prompt", **_QWEN),
    load("qwen3", "Qwen3, and any base that shall think first", **_QWEN, **_THINKS),
    load("qwen3_thinking", "Qwen3-Thinking-2507, and any base that shall always think", aliases=("qwq",), **_QWEN,
         thinking="always", reasoning_parser="qwen3"),
    load("qwen3_instruct", "Qwen3-Instruct-2507", aliases=("qwen3_instruct_2507",), **_QWEN),
    load("qwen3_5", "Qwen3.5 of 4B and more", aliases=("qwen3_5_think", "qwen3.5"), **_QWEN, **_THINKS),
    load("qwen3_5_nothink", "Qwen3.5 of 2B and less", **_QWEN, **_THINKS),
    load("deepseek", "DeepSeek-R1-Distill", aliases=("deepseek_r1", "deepseekr1", "deepseek_r1_distill"), **_DEEPSEEK,
         thinking="always", reasoning_parser="qwen3",
         warning="`deepseek` is the R1-Distill format here (it thinks); LLaMA-Factory gives that name to the older "
         "deepseek_llm format and calls this one deepseekr1"),
    load("deepseek3", "DeepSeek-V3", aliases=("deepseek_v3", "deepseekv3"), **_DEEPSEEK),
    load("deepseek_llm", "DeepSeek LLM, DeepSeek-V2 chat", aliases=("deepseek_v2",), **_DEEPSEEK),
    load("deepseek_coder", "DeepSeek-Coder instruct", aliases=("deepseekcoder",), turn_end="<|EOT|>",
         required_tokens=("<|EOT|>",), **_DEEPSEEK),
    load("llama2", "Llama 2 chat, Chinese-Alpaca-2", supports_system=False),
    load("llama3", "Llama 3", aliases=("llama-3",), **_LLAMA, extra_stops=_LLAMA_STOPS[1:]),
    load("llama3_1", "Llama 3.1, 3.3", aliases=("llama3.1", "llama3_3"), **_LLAMA, extra_stops=_LLAMA_STOPS),
    load("llama3_2", "Llama 3.2 (text)", aliases=("llama3.2",), **_LLAMA, extra_stops=_LLAMA_STOPS),
    load("mistral_v1", "Mistral-7B-Instruct v0.1, v0.2", supports_system=False),
    load("mistral", "Mistral-7B-Instruct v0.3", aliases=("mistral_v3",), supports_system=False),
    load("mistral_nemo", "Mistral Nemo", required_tokens=_MISTRAL_TOKENS, supports_system=False),
    load("mistral_small", "Mistral Small 3", required_tokens=(*_MISTRAL_TOKENS, "[SYSTEM_PROMPT]")),
    load("gemma", "Gemma 1, Gemma 2", aliases=("gemma2",), **_GEMMA),
    load("gemma3", "Gemma 3 (text), MedGemma", aliases=("medgemma",), **_GEMMA),
    load("phi3", "Phi-3, Phi-3.5", aliases=("phi", "phi3_5", "phi3.5", "phi_small"), **_PHI,
         extra_stops=("<|endoftext|>",)),
    load("phi4", "Phi-4", **_IM, extra_stops=("<|endoftext|>",)),
    load("glm4", "GLM-4-9B chat", aliases=("chatglm4",), **_GLM),
    load("glm4_moe", "GLM-4.5", aliases=("glm4_5", "glm45"), **_GLM, thinking="hybrid", reasoning_parser="glm45"),
    load("chatglm", "ChatGLM-6B"),
    load("chatglm2", "ChatGLM2"),
    load("chatglm3", "ChatGLM3", **_GLM),
    load("baichuan", "Baichuan-13B-Chat", required_tokens=("<reserved_102>", "<reserved_103>")),
    load("baichuan2", "Baichuan2 chat", required_tokens=("<reserved_106>", "<reserved_107>")),
    load("intern", "InternLM chat", turn_end="<eoa>", required_tokens=("<eoh>", "<eoa>")),
    load("intern2", "InternLM2, InternLM2.5 chat", aliases=("internlm2",), **_IM, extra_stops=("</s>",)),
    load("yi", "Yi, Yi-1.5 chat", **_QWEN),
    load("chatml", "generic ChatML", **_IM),
    load("zephyr", "Zephyr"),
    load("cohere", "Command R, Aya", turn_end="<|END_OF_TURN_TOKEN|>",
         required_tokens=("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>")),
    load("starchat", "StarChat", turn_end="<|end|>", required_tokens=("<|user|>", "<|assistant|>", "<|end|>")),
    load("stablelm", "StableLM-Tuned-Alpha", required_tokens=("<|USER|>", "<|ASSISTANT|>", "<|SYSTEM|>")),
    load("xverse", "XVERSE chat"),
    load("orion", "Orion-14B-Chat"),
    load("aquila", "AquilaChat"),
    load("phoenix", "Phoenix, Chimera"),
    load("openbuddy", "OpenBuddy on Llama 1 and 2"),
    load("belle", "BELLE-LLaMA-EXT"),
    load("ziya", "Ziya-LLaMA"),
    load("linly", "Linly-Chinese-LLaMA"),
    load("vicuna", "Vicuna; base models without chat tokens"),
    load("alpaca", "Alpaca; base models without chat tokens", aliases=("default",)),
    load("base", "few-shot prompts, completion", aliases=("empty",)),
)  # fmt: skip

# Names of other toolkits that need no file of their own: which row stands in, and why.
STAND_INS: dict[str, tuple[str, str]] = {
    "qwen3_nothink": ("qwen3_instruct", "the same text; for a hybrid Qwen3 take qwen3 and --enable_thinking False"),
    "bloom": ("vicuna", "BLOOM chat models were tuned with Vicuna's headings and their own EOS"),
    "bloomz": ("vicuna", "BLOOM chat models were tuned with Vicuna's headings and their own EOS"),
    "llama2_zh": ("llama2", "the same text but for a default system prompt"),
    "llama2-zh": ("llama2", "the same text but for a default system prompt"),
    "ministral": ("mistral_nemo", "the same text"),
    "chinese_alpaca": ("alpaca", "the same headings"),
}
