"""The very command for every kind of model and machine, and what is refused with what to do instead.

sh run_tests.sh tests/deploy/test_command.py
"""

import json
from pathlib import Path

import pytest

from bedside.deploy import command, given, subject
from bedside.deploy.machine import Card, Machine, Vllm
from bedside.deploy.memory import GIB
from bedside.errors import ConfigError, LineageError

CPU, GPU = Vllm("/v/python", "0.29.0", True, False), Vllm("/v/python", "0.29.0", False, True)
COMPUTER = Machine((), 8 * GIB)
NF4 = {"bits": 4, "type": "nf4", "double": True, "compute": "bfloat16"}


def cards(*capabilities: tuple[int, int], total: int = 24) -> Machine:
    return Machine(tuple(Card(f"card {c}", total * GIB, total * GIB, c) for c in capabilities), 8 * GIB)


def start(directory: Path, *flags: str, machine=COMPUTER, vllm=CPU, environment=None) -> command.Start:
    asked = given.parse([str(directory), *flags])
    found = subject.read(asked.directory, asked.words("chat-template") is not None)
    return command.compose(found, machine, vllm, asked, environment or {})


def test_a_merged_model_that_thinks_on_a_cpu(make_merged):
    place = make_merged()
    begun = start(place)
    assert begun.command == (
        "/v/python", "-m", "vllm.entrypoints.openai.api_server", "--model", str(place), "--generation-config",
        str(place), "--served-model-name", "merged sft", "--dtype", "bfloat16", "--max-model-len", "512",
        "--enforce-eager", "--no-enable-chunked-prefill",
        "--chat-template", f"{place}/chat_template.jinja", "--reasoning-parser", "qwen3",
        "--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--host", "127.0.0.1", "--port", "8000",
    )  # fmt: skip
    assert begun.environment == {
        "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_HOST_IP": "127.0.0.1",
        "CUDA_VISIBLE_DEVICES": "", "VLLM_CPU_KVCACHE_SPACE": "1",
    }  # fmt: skip
    assert (begun.model, begun.url, begun.thinks) == ("merged sft", "http://127.0.0.1:8000", True)
    assert f"--model '{place}'" in begun.line() and begun.line().startswith("HF_HUB_OFFLINE=1 ")


def test_a_model_without_thoughts_has_no_reasoning_parser(make_merged):
    begun = start(make_merged("vicuna"))
    assert not {"--reasoning-parser", "--tool-call-parser", "--enable-auto-tool-choice"} & set(begun.command)
    assert begun.thinks is False


def test_an_adapter_on_cards(make_adapter, tiny_model_dir):
    place = make_adapter()
    begun = start(place, machine=cards((8, 0), (8, 0)), vllm=GPU)
    assert begun.command[3:] == (
        "--model", tiny_model_dir, "--tokenizer", str(place), "--generation-config", str(place),
        "--served-model-name", "outputs-sft-base", "--enable-lora", "--lora-modules", f"outputs-sft={place}",
        "--max-lora-rank", "16", "--dtype", "bfloat16", "--max-model-len", "512", "--tensor-parallel-size", "2",
        "--chat-template", f"{place}/chat_template.jinja", "--reasoning-parser", "qwen3",
        "--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--host", "127.0.0.1", "--port", "8000",
    )  # fmt: skip
    assert begun.model == "outputs-sft"
    assert begun.environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID" and "CUDA_VISIBLE_DEVICES" not in begun.environment
    named = start(place, "--served-model-name", "doctor")
    assert named.model == "doctor"
    assert named.command.count("--served-model-name") == 1
    assert {"doctor-base", f"doctor={place}"} <= set(named.command)


def test_an_adapter_under_two_names_beside_another(make_adapter):
    place = make_adapter()
    begun = start(place, "--served-model-name", "a", "b", "--lora-modules", "c=/c")
    at = begun.command.index("--served-model-name")
    assert begun.command[at : at + 8] == (
        "--served-model-name", "a-base", "b-base", "--enable-lora", "--lora-modules", f"a={place}", f"b={place}",
        "c=/c",
    )  # fmt: skip
    assert begun.command.count("--lora-modules") == 1 and begun.model == "a"


def test_a_name_that_would_break_the_short_form_goes_as_json(make_adapter):
    begun = start(make_adapter(), "--served-model-name", "a=b")
    module = json.loads(begun.command[begun.command.index("--lora-modules") + 1])
    assert module["name"] == "a=b" and module["path"].endswith("/outputs-sft")


def test_older_cards_compute_in_float16(make_merged):
    begun = start(make_merged(), machine=cards((7, 5), total=11), vllm=GPU)
    assert begun.command[begun.command.index("--dtype") + 1] == "float16"
    assert any(line.startswith("--dtype float16: card (7, 5) does not compute in bfloat16") for line in begun.told)


def test_cards_that_do_not_divide_the_heads_are_left_out(make_merged):
    begun = start(make_merged(), machine=cards((9, 0), (9, 0), (9, 0)), vllm=GPU)
    assert begun.command[begun.command.index("--tensor-parallel-size") + 1] == "2"
    assert any(
        line.startswith("--tensor-parallel-size 2: 3 cards are visible, and the model's 2") for line in begun.told
    )


@pytest.mark.parametrize(
    ("flags", "tensor"),
    [
        (("--pipeline-parallel-size", "2"), "2"),  # four cards, two stages: two cards a layer
        (("-pp", "4"), "1"),
        (("--data-parallel-size", "2"), "2"),
        (("-tp", "1", "-pp", "2", "-dp", "2"), "1"),
    ],
)
def test_a_model_is_spread_over_cards_as_asked(make_merged, flags, tensor):
    begun = start(make_merged(), *flags, machine=cards(*[(9, 0)] * 4), vllm=GPU)
    assert begun.command.count("--tensor-parallel-size") == 1
    assert begun.command[begun.command.index("--tensor-parallel-size") + 1] == tensor
    given = {"-tp": "--tensor-parallel-size", "-pp": "--pipeline-parallel-size", "-dp": "--data-parallel-size"}
    for name, size in zip(flags[::2], flags[1::2], strict=True):
        assert begun.command[begun.command.index(given.get(name, name)) + 1] == size


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("-tp", "4"), "--tensor-parallel-size 4: needs 4 cards, 2 are visible; lower it, or check CUDA_VISIBLE_DEV"),
        (("-tp", "2", "-pp", "2"), "--tensor-parallel-size 2 x --pipeline-parallel-size 2: needs 4 cards, 2 are vis"),
        (("-tp", "0"), "--tensor-parallel-size 0: expected at least 1"),
        (("-tp", "3", "-n", "2"), "--tensor-parallel-size 3: the model's 2 attention heads are not shared out evenly"),
    ],
)
def test_cards_that_are_not_there_and_heads_that_do_not_divide_are_refused(make_merged, flags, sentence):
    with pytest.raises(ConfigError) as refused:
        start(make_merged(), *flags, machine=cards((9, 0), (9, 0)), vllm=GPU)
    assert str(refused.value).startswith(sentence)


def test_the_users_flags_win_and_that_is_said(make_merged):
    begun = start(make_merged(), "--dtype", "float32", "--max-model-len", "128", "--port", "9000", "--seed", "7")
    assert begun.command[-8:] == ("--dtype", "float32", "--max-model-len", "128", "--port", "9000", "--seed", "7")
    assert begun.command.count("--dtype") == 1 and begun.command.count("--port") == 1
    assert "--max-model-len 128 is yours, in place of --max-model-len 512" in begun.told
    assert begun.url == "http://127.0.0.1:9000"
    off = start(make_merged(directory="b"), "--no-enable-auto-tool-choice")
    assert "--enable-auto-tool-choice" not in off.command and "--no-enable-auto-tool-choice" in off.command


def test_another_address_needs_a_key_which_is_never_an_argument(make_merged):
    place = make_merged()
    with pytest.raises(ConfigError, match=r"--host 0.0.0.0: other machines .* export VLLM_API_KEY="):
        start(place, "--host", "0.0.0.0")
    with pytest.raises(ConfigError, match="other machines would reach the model without a key"):
        start(place, "--host", "0.0.0.0", environment={"VLLM_API_KEY": ""})
    begun = start(place, "--host", "0.0.0.0", environment={"VLLM_API_KEY": "s3cret-key"})
    assert "s3cret-key" not in begun.line() and "s3cret-key" not in "".join(begun.told)
    assert begun.url == "http://127.0.0.1:8000"
    assert start(place, "--host", "::1").url == "http://[::1]:8000"


def test_a_model_merged_into_nf4_is_not_quantised_again(make_merged):
    place = make_merged(mode="nf4")
    assert "--quantization" not in start(place, machine=cards((8, 6)), vllm=GPU).command
    with pytest.raises(
        ConfigError, match=r"--quantization bitsandbytes: .* was merged with --mode nf4; quantising it"
    ):
        start(place, "--quantization", "bitsandbytes", machine=cards((8, 6)), vllm=GPU)
    with pytest.raises(ConfigError, match=r"--quantization fp8: .* was merged with --mode nf4"):
        start(place, "-q", "fp8", machine=cards((8, 6)), vllm=GPU)


def test_four_bits_are_asked_for_only_where_they_exist(make_merged):
    place = make_merged()
    with pytest.raises(ConfigError, match="vLLM's build for CPUs has no 4-bit kernels"):
        start(place, "-q", "bitsandbytes")
    with pytest.raises(ConfigError, match="not installed; /v/python -m pip install bitsandbytes"):
        start(place, "-q", "bitsandbytes", machine=cards((8, 6)), vllm=Vllm("/v/python", "0.29.0", False, False))
    assert start(place, "-q", "bitsandbytes", machine=cards((8, 6)), vllm=GPU).command[-2:] == (
        "--quantization", "bitsandbytes",
    )  # fmt: skip


def test_an_adapter_of_a_4_bit_base_is_served_with_a_warning(make_adapter):
    place = make_adapter(quant=NF4)
    (told,) = [line for line in start(place, machine=cards((8, 6)), vllm=GPU).told if "trained on" in line]
    assert told == (
        "the adapter was trained on a 4-bit NF4 base and is served on one in 16 or 32 bits: answers differ a little "
        "from those of inference.py (as in training: --quantization bitsandbytes)"
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"use_dora": True}, "it is DoRA"),
        ({"modules_to_save": ["lm_head"]}, "it holds modules saved whole"),
        ({"alpha_pattern": {"q_proj": 4}}, "its layers differ in rank or scale"),
        ({"init_lora_weights": "pissa"}, "it was started with pissa"),
        ({"bias": "all"}, "it trains biases"),
        ({"r": 1024}, "its rank is 1024, vLLM takes up to 512"),
    ],
)
def test_an_adapter_that_vllm_cannot_serve_is_to_be_merged(make_adapter, changes, why):
    place = make_adapter(**changes)
    with pytest.raises(ConfigError) as refused:
        subject.read(str(place))
    assert why in str(refused.value)
    assert str(refused.value).endswith(
        f"Merge it first: python merge_peft_adapter.py --peft_model_path {place} --output_dir {place}-merged; then: "
        f"sh vllm_deployment.sh {place}-merged"
    )


def test_a_reward_model_and_a_base_without_a_template_are_refused(make_merged, tiny_model_dir):
    with pytest.raises(
        ConfigError, match=r"a SEQ_CLS model \(a reward model\?\) scores answers and cannot write them"
    ):
        subject.read(str(make_merged(task="SEQ_CLS")))
    with pytest.raises(ConfigError, match="has no chat template, so it was never trained to answer"):
        subject.read(tiny_model_dir)
    begun = start(Path(tiny_model_dir), "--chat-template", "mine.jinja")
    assert begun.command[-2:] == ("--chat-template", "mine.jinja") and "--reasoning-parser" not in begun.command
    assert "--chat-template is yours: prompts may not be those of training" in begun.told


def test_a_template_that_was_changed_is_refused(make_merged):
    place = make_merged()
    file = place / "chat_template.jinja"
    file.write_text(file.read_text() + "{# mine #}")
    with pytest.raises(LineageError, match=r"chat_template.jinja is not the one of training \(\w+ then, \w+ now\)"):
        subject.read(str(place))
    assert start(place, "--chat-template", str(file)).command[-2:] == ("--chat-template", str(file))


def test_a_directory_without_lineage_is_known_by_its_template(make_merged):
    place = make_merged()
    (place / "lineage.json").unlink()
    assert subject.read(str(place)).template.reasoning_parser == "qwen3"
    (place / "chat_template.jinja").write_text("{{ messages[0].content.split('</think>')[-1] }}")
    begun = start(place)
    assert "--reasoning-parser" not in begun.command and begun.thinks is False
    assert any("no parser is known for it; thoughts stay in the answer" in line for line in begun.told)


def test_stops_that_the_server_would_not_know_are_told(make_merged):
    place = make_merged()
    assert subject.read(str(place)).stops_missing == ()
    (place / "generation_config.json").write_text('{"eos_token_id": 2}')
    assert subject.read(str(place)).stops_missing == (0,)
    assert any("does not name the stop ids [0] of training" in line for line in start(place).told)


def test_a_model_trained_without_thoughts_answers_without_them(make_adapter):
    begun = start(make_adapter(thoughts=False))
    assert begun.command[begun.command.index("--default-chat-template-kwargs") + 1] == '{"enable_thinking": false}'
    assert any(line.startswith("the model was trained without thoughts") for line in begun.told)
    assert begun.thinks is False


def test_what_is_no_model_directory(tmp_path):
    with pytest.raises(
        ConfigError, match=r"Qwen/Qwen3-4B: no such directory; a model of the hub .* download_model.py"
    ):
        subject.read("Qwen/Qwen3-4B")
    with pytest.raises(ConfigError, match="./none: no such directory; expected a model directory"):
        subject.read("./none")
    with pytest.raises(ConfigError, match=r"no config.json in this directory \(it holds nothing\)"):
        subject.read(str(tmp_path))


def test_a_checkpoint_is_called_by_its_run(make_merged):
    place = make_merged(directory="checkpoint-500")
    assert subject.read(str(place)).name == f"{place.parent.name}-checkpoint-500"
