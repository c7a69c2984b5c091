"""Tokenizers of four kinds learn words: each one token, everything else as it was; a model gets rows for them.

sh run_tests.sh tests/vocabulary
"""

import json

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import Qwen3Config, Qwen3ForCausalLM

import build_domain_tokenizer
from bedside import lineage
from bedside import models as loading
from bedside.errors import ConfigError, LineageError
from bedside.vocabulary import extend, rows
from bedside.vocabulary.codec import Codec
from bedside.vocabulary.words import Account, Word
from tests.templates import toys

WORDS = ["心肌梗死", "急性心肌梗死", "阿司匹林", "咯血", "nitroglycerin", "Sjögren", "pacemaker"]
OLD = [
    "患者发热咳嗽三天，先测体温。",
    "The patient has had a fever for three days; drink water.",
    "头晕 怎么办？\n\n答",
]
NEW = "急性心肌梗死：嚼服阿司匹林，nitroglycerin 与咯血。 Give nitroglycerin for Sjögren now."


def taught(backend, texts=WORDS, merges=True):
    codec = Codec(backend, merges)
    account = Account()
    chosen = extend.choose([Word(text, 1, f"f:{n}") for n, text in enumerate(texts, 1)], codec, account)
    return extend.learn(chosen, codec, account), account


def read(backend, text):
    return backend.encode(text, add_special_tokens=False).ids


@pytest.fixture(params=toys.KINDS)
def backend(request):
    return toys.tokenizer(request.param).backend_tokenizer


def test_each_word_is_one_token_and_old_texts_keep_their_ids(backend):
    extended, account = taught(backend)
    after = extended.after
    assert [len(after.ids(after.surface(word))) for word in WORDS] == [1] * len(WORDS)
    assert account.reasons.total() == 0
    assert [read(after.backend, text) for text in OLD] == [read(backend, text) for text in OLD]
    old = backend.get_vocab(with_added_tokens=True)
    assert {token: after.backend.get_vocab(with_added_tokens=True)[token] for token in old} == old
    assert len(read(after.backend, NEW)) < len(read(backend, NEW)) / 2


def test_what_is_written_is_read_back(backend):
    after = taught(backend)[0].after.backend
    plain = [backend.decode(read(backend, text), skip_special_tokens=False) for text in (*OLD, NEW)]
    assert [after.decode(read(after, text), skip_special_tokens=False) for text in (*OLD, NEW)] == plain


def test_ids_go_on_behind_the_highest_and_each_is_used_once(backend):
    extended, _ = taught(backend)
    highest = max(backend.get_vocab(with_added_tokens=True).values())
    assert sorted(extended.pieces) == list(range(highest + 1, highest + 1 + len(extended.pieces)))
    assert max(number for pieces in extended.pieces.values() for number in pieces) <= highest


def test_a_long_word_is_built_of_a_shorter_one():
    extended, _ = taught(toys.tokenizer("llama3").backend_tokenizer, ["急性心肌梗死", "心肌梗死"])
    merges = extended.learnt.state["model"]["merges"]
    form = extended.after.surface
    assert form("心肌梗死") in merges[-1]


def test_added_tokens_cannot_write_latin_1_letters_byte_level():
    extended, account = taught(toys.tokenizer("gpt2").backend_tokenizer, ["Sjögren", "咯血"], merges=False)
    assert account.places == {"undecodable": ["f:1"]}
    assert list(extended.learnt.words) == ["咯血"]
    assert read(extended.after.backend, "患者咯血。").count(extended.learnt.words["咯血"]) == 1


def test_added_latin_words_are_no_parts_of_others():
    extended, _ = taught(toys.tokenizer("llama3").backend_tokenizer, ["statin"], merges=False)
    number = extended.learnt.words["statin"]
    assert number in read(extended.after.backend, "a statin.")
    assert number not in read(extended.after.backend, "nystatin")


def test_known_cut_rare_and_no_room_are_accounted():
    backend = toys.tokenizer("llama3").backend_tokenizer
    account, codec = Account(), Codec(backend, merges=True)
    given = [("咯血", 9), ("患者", 9), ("1型", 9), ("瘘管", 1), ("nitroglycerin", 5)]
    chosen = extend.choose([Word(t, c, t) for t, c in given], codec, account, least=2, room=6)
    assert [word.text for word in chosen] == ["咯血"]
    assert dict(account.places) == {"known": ["患者"], "cut": ["1型"], "rare": ["瘘管"], "limit": ["nitroglycerin"]}


def test_a_model_that_is_no_bpe_gets_added_tokens():
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "heart": 1}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    assert extend.method_for(backend, "auto") == "added"
    with pytest.raises(ConfigError, match="is a WordLevel, not a BPE; use --method added"):
        Codec(backend, merges=True)


def tiny(tied: bool, dtype=torch.bfloat16, vocabulary=40):
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, tie_word_embeddings=tied,
    )  # fmt: skip
    return Qwen3ForCausalLM(config).to(dtype).eval()


@pytest.mark.parametrize("tied", [True, False])
def test_new_rows_are_means_and_old_logits_are_equal(tied):
    model, lines = tiny(tied), [[1, 2, 3, 4, 5, 6]]
    before = rows.logits_of(model, lines)
    kept = [matrix.detach().clone() for matrix in (model.model.embed_tokens.weight, model.lm_head.weight)]
    change = rows.extend(model, {38: [1], 40: [2, 3], 41: [4, 5, 6]}, multiple=8)
    assert (change.before, change.after, change.spare, change.added, change.tied) == (40, 48, 1, 2, tied)
    for old, new in zip(kept, (model.model.embed_tokens.weight, model.lm_head.weight), strict=True):
        assert torch.equal(new[:38], old[:38])
        assert torch.equal(new[40], old[[2, 3]].float().mean(0).bfloat16())
        assert torch.equal(new[41], old[[4, 5, 6]].float().mean(0).bfloat16())
        assert torch.equal(new[38], old[1])
    after = rows.logits_of(model, lines)
    assert torch.equal(after[0][:, :38], before[0][:, :38])
    assert rows.compare([before[0][:, :38]], [after[0][:, :40]])["moved"] == 0


def test_no_row_is_removed_and_none_added_where_spare_ones_do():
    model = tiny(tied=True)
    change = rows.extend(model, {36: [1, 2]}, multiple=64)
    assert (change.before, change.after, change.spare, change.added) == (40, 40, 1, 0)


def test_a_tokenizer_of_another_model_is_refused():
    with pytest.raises(LineageError, match="the tokenizer reaches id 44, the model has 40 rows"):
        rows.extend(tiny(tied=True), {50: [44]})


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """models/starter with a few words, as the command writes it."""
    root = tmp_path_factory.mktemp("written")
    (root / "words.txt").write_text("乳糜泻\n心肌桥\n\n乳糜泻\nmethotrexate\n", encoding="utf-8")
    build_domain_tokenizer.main(
        ["--model_name_or_path", "models/starter", "--domain_file_path", str(root / "words.txt"), "--text_file",
         "data/eval/documents.txt", "--output_dir", str(root / "out")]
    )  # fmt: skip
    return root / "out"


def test_the_command_writes_tokenizer_model_and_lineage(written):
    report = json.loads((written / "vocabulary.json").read_text(encoding="utf-8"))
    assert sorted(text for text, _, _ in report["words"]["words"]) == [" methotrexate", "乳糜泻", "心肌桥"]
    assert report["account"]["reasons"] == {"empty": 1, "duplicate": 1}
    manifest = lineage.read(written)
    assert (manifest["stage"], manifest["kind"]) == ("vocabulary", "full")
    assert [(p["stage"], p["how"]) for p in manifest["parents"]] == [("starter", "extended")]
    weights = load_file(written / "model.safetensors")
    assert weights["model.embed_tokens.weight"].shape[0] == manifest["load"]["rows"] == report["rows"]["after"]
    assert report["rows"]["moved"] == 0.0
    assert lineage.damage(written) is None


def test_greedy_answers_are_what_they_were(written):
    text = "发热咳嗽三天，"
    ends = []
    for place in ("models/starter", str(written)):
        tokenizer, model = loading.load_tokenizer(place), loading.load_base(place)
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False)
        ends.append(made[0].tolist())
    assert ends[0] == ends[1]


def test_a_tokenizer_without_rows_is_refused_for_training(written):
    model, tokenizer = loading.load_base("models/starter"), loading.load_tokenizer(str(written))
    with pytest.raises(
        ConfigError, match=r"the tokenizer reaches id \d+, the model has 5000 rows; .*build_domain_tok"
    ):
        loading.check_rows(model, tokenizer)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "no words: give a list with --domain_file_path"),
        (["--domain_file_path", "x", "--output_dir", "y"], "nothing to extend: give --base_tokenizer_path"),
        (["--in_file", "x", "--output_dir", "y", "--base_tokenizer_path", "models/starter"], "x: no such file"),
        (["--in_file", "data/pretrain", "--output_dir", "data", "--base_tokenizer_path", "models/starter"],
         "--output_dir data: not empty; choose another"),
        (["--in_file", "data/pretrain", "--output_dir", "y", "--base_tokenizer_path", "models/none"],
         "--base_tokenizer_path models/none: no such directory"),
    ],
)  # fmt: skip
def test_mistakes_are_sentences(argv, message):
    with pytest.raises(ConfigError, match=message):
        build_domain_tokenizer.main(argv)
