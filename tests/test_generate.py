"""Completions of a tiny random model: prompts, padding, stops, streams.

sh run_tests.sh tests/test_generate.py
"""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from bedside import generate, stretches, templates
from bedside.answers import EngineFailed
from bedside.data.conversation import RowError
from bedside.errors import ConfigError
from bedside.generate import Answer, ChatEngine, Delta, Sampling
from bedside.written import TextOfTokens

GREEDY = Sampling(max_new_tokens=12, temperature=0)
SHORT = [{"role": "user", "content": "咳嗽怎么办？"}]
LONG = [{"role": "user", "content": "The patient has had a fever and a cough for three days. What should be done?"}]


@pytest.fixture
def engine(loud_parts):
    """Never stops by itself: the greedy answers of a random model do not hold these ids."""
    return ChatEngine(*loud_parts, stop_ids=[loud_parts[1].eos_token_id])


def greedy_ids(engine, messages, count=12):
    ids = torch.tensor([engine.prompt(messages).ids])
    for _ in range(count):
        ids = torch.cat([ids, engine.model(input_ids=ids).logits[:, -1:].argmax(-1)], dim=1)
    return ids[0, -count:].tolist()


def test_sampling_as_generate_takes_it():
    assert generate._keywords(Sampling(9, 0.5, 0.8, 3, 1.1)) == {
        "repetition_penalty": 1.1, "do_sample": True, "temperature": 0.5, "top_p": 0.8, "top_k": 3,
    }  # fmt: skip
    assert generate._keywords(GREEDY) == {"repetition_penalty": 1.0, "do_sample": False}


def test_the_prompt_is_the_templates_and_tokenized_whole(engine):
    prompt = engine.prompt([{"role": "system", "content": "Be brief."}, *SHORT])
    assert prompt.text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n咳嗽怎么办？<|im_end|>\n<|im_start|>assistant\n"
    )
    assert engine.tokenizer.convert_ids_to_tokens(prompt.ids)[0] == "<|im_start|>"
    assert engine.tokenizer.decode(prompt.ids) == prompt.text
    assert not prompt.opened


def test_a_hybrid_model_is_asked_for_an_answer_without_a_thought(engine):
    assert engine.prompt(SHORT, enable_thinking=False).text.endswith("assistant\n<think>\n\n</think>\n\n")
    assert not engine.prompt(SHORT, enable_thinking=False).opened


def test_a_prompt_that_opens_the_thought_says_so(loud_parts):
    model, tokenizer, _ = loud_parts
    assert ChatEngine(model, tokenizer, templates.get("deepseek"), [0]).prompt(SHORT).opened


def test_a_prompt_longer_than_the_context_is_named(engine):
    with pytest.raises(RowError, match=r"W_OVERLONG the prompt has \d+ tokens, the model's context is 512"):
        engine.prompt([{"role": "user", "content": "x " * 600}])


def test_left_padding_changes_nothing(engine):
    alone = [engine.answer([chat], GREEDY)[0] for chat in (SHORT, LONG)]
    assert engine.answer([SHORT, LONG], GREEDY) == alone
    assert engine.answer([LONG, SHORT, LONG], GREEDY) == [alone[1], alone[0], alone[1]]
    assert alone[0].prompt_tokens < alone[1].prompt_tokens


def test_the_greedy_answer_is_the_models_likeliest_continuation(engine):
    assert engine.answer([SHORT], GREEDY)[0].text == engine.decode(greedy_ids(engine, SHORT))


def test_a_length_that_is_reached_is_told(engine):
    answer = engine.answer([SHORT], GREEDY)[0]
    assert (answer.finish_reason, answer.completion_tokens) == ("length", 12)


def test_any_stop_id_ends_the_answer_and_is_not_part_of_it(engine, loud_parts):
    ids = greedy_ids(engine, LONG)
    place = next(i for i in range(2, 12) if ids[i] not in ids[:i])
    stopping = ChatEngine(*loud_parts, stop_ids=[0, ids[place]])
    answer = stopping.answer([LONG, SHORT], GREEDY)[0]
    assert (answer.finish_reason, answer.completion_tokens) == ("stop", place + 1)
    assert answer.text == engine.decode(ids[:place])
    assert list(stopping.stream(LONG, GREEDY))[-1] == answer


def test_the_context_limits_each_row_for_itself(engine):
    filling = next(
        chat
        for chat in ([{"role": "user", "content": "x " * count}] for count in range(400, 0, -1))
        if len(engine.tokenizer(chat[0]["content"])["input_ids"]) < 490
    )
    room = 512 - len(engine.prompt(filling).ids)
    assert 0 < room < 60
    full, short = engine.answer([filling, SHORT], Sampling(100, temperature=0))
    assert (full.completion_tokens, full.finish_reason) == (room, "length")
    assert short.completion_tokens == 100


def test_the_models_own_sampling_fields_change_nothing(engine):
    before = engine.answer([SHORT], GREEDY)
    config = engine.model.generation_config
    config.no_repeat_ngram_size, config.min_p, config.max_length = 1, 0.9, 3
    try:
        assert engine.answer([SHORT], GREEDY) == before
        assert engine.model.generation_config is config
    finally:
        config.no_repeat_ngram_size, config.min_p, config.max_length = None, None, None


def test_a_model_in_training_is_given_back_in_training(engine):
    engine.model.train()
    try:
        engine.answer([SHORT], GREEDY)
        assert engine.model.training
    finally:
        engine.model.eval()


def test_sampling_repeats_with_its_seed(engine):
    hot = Sampling(12, temperature=1.5)
    torch.manual_seed(3)
    first = engine.answer([SHORT], hot)
    torch.manual_seed(3)
    assert engine.answer([SHORT], hot) == first != engine.answer([SHORT], GREEDY)


def test_the_stream_and_the_answer_are_the_same_text(engine):
    for seed in range(3):
        hot = Sampling(60, temperature=2.0)
        torch.manual_seed(seed)
        *deltas, last = engine.stream(SHORT, hot)
        torch.manual_seed(seed)
        assert last == engine.answer([SHORT], hot)[0]
        assert all(isinstance(delta, Delta) for delta in deltas)
        assert "".join(delta.text for delta in deltas) == (last.thought or "") + last.answer


def test_a_stream_can_be_stopped(engine):
    cancel, pieces = threading.Event(), []
    for piece in engine.stream(SHORT, Sampling(400, temperature=0), cancel=cancel):
        pieces.append(piece)
        cancel.set()
    assert isinstance(pieces[-1], Answer)
    assert pieces[-1].finish_reason == "cancelled"
    assert pieces[-1].completion_tokens < 400


def test_a_reader_that_goes_away_ends_the_work(engine):
    before = threading.active_count()
    stream = engine.stream(SHORT, Sampling(400, temperature=0))
    next(stream)
    stream.close()
    assert threading.active_count() == before


def test_an_error_while_streaming_reaches_the_reader(engine, monkeypatch):
    def broken(*_, **__):
        raise ValueError("no such thing")

    monkeypatch.setattr(engine.model, "generate", broken)
    with pytest.raises(ValueError, match="no such thing"):
        list(engine.stream(SHORT, GREEDY))


def test_too_little_memory_is_one_sentence(engine, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(engine.model, "generate", full)
    told = r"GPU's memory does not hold 2 prompt\(s\) of \d+ tokens .*lower --batch_size"
    with pytest.raises(ConfigError, match=told):
        engine.answer([SHORT, LONG], GREEDY)
    monkeypatch.undo()
    monkeypatch.setattr(stretches, "written", full)  # while rows leave the cache
    with pytest.raises(ConfigError, match=told):
        engine.answer([SHORT, LONG], GREEDY)


def test_an_error_of_the_device_is_the_engines(engine, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("CUDA error: unspecified launch failure\nmore")

    monkeypatch.setattr(engine.model, "generate", broken)
    for ask in (lambda: engine.answer([SHORT], GREEDY), lambda: list(engine.stream(SHORT, GREEDY))):
        with pytest.raises(EngineFailed, match=r"the model broke off: CUDA error: unspecified launch failure$"):
            ask()


def test_an_engine_has_a_name_and_says_whether_it_thinks(engine, loud_parts):
    assert (engine.name, engine.thinks) == ("model", True)
    assert not ChatEngine(*loud_parts[:2], templates.get("vicuna"), [0]).thinks


def test_a_seed_repeats_in_any_batch_and_leaves_others_numbers_alone(engine):
    hot = Sampling(12, temperature=1.5, top_p=0.95, seed=11)
    torch.manual_seed(3)
    before = torch.rand(1)
    torch.manual_seed(3)
    alone = engine.answer([SHORT], hot)[0]
    assert torch.rand(1) == before
    assert engine.answer([LONG, SHORT, LONG], hot)[1] == alone
    assert list(engine.stream(SHORT, hot))[-1] == alone
    assert engine.answer([SHORT], Sampling(12, temperature=1.5, top_p=0.95, seed=12))[0] != alone


def test_a_stop_text_ends_an_answer_and_is_cut_off(engine):
    whole = engine.answer([SHORT], GREEDY)[0]
    stop = whole.text[4:7]  # over the borders of tokens
    assert whole.text.index(stop) == 4
    stopping = Sampling(12, temperature=0, stop=("never seen", stop))
    answer, other = engine.answer([SHORT, LONG], stopping)
    assert (answer.text, answer.finish_reason) == (whole.text[:4], "stop")
    assert answer.completion_tokens < 12
    assert other == engine.answer([LONG], stopping)[0]
    *deltas, last = engine.stream(SHORT, stopping)
    assert last == answer
    assert "".join(delta.text for delta in deltas) == answer.answer


def test_streams_of_several_threads_do_not_mix(engine):
    alone = [engine.answer([chat], GREEDY)[0] for chat in (SHORT, LONG)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda i: list(engine.stream((SHORT, LONG)[i % 2], GREEDY))[-1], range(16)))
    assert found == alone * 8


def test_one_who_waits_for_the_model_can_be_cancelled(engine):
    cancel = threading.Event()
    cancel.set()
    with engine._turn:
        (answer,) = engine.stream(SHORT, GREEDY, cancel=cancel)
    assert (answer.finish_reason, answer.completion_tokens, answer.text) == ("cancelled", 0, "")


def test_characters_of_several_tokens_come_whole(tiny_tokenizer):
    ids = tiny_tokenizer("a🩺胸b", add_special_tokens=False)["input_ids"]
    assert len(ids) > 6
    text = TextOfTokens(tiny_tokenizer.backend_tokenizer.decode)
    pieces = [text.add(token) for token in ids]
    assert "".join(pieces) + text.rest() == "a🩺胸b"
    assert [piece for piece in pieces if piece] == ["a", "🩺", "胸", "b"]


def test_bytes_that_are_no_character_hold_nothing_back_for_long(tiny_tokenizer):
    half = tiny_tokenizer("🩺", add_special_tokens=False)["input_ids"][0]
    text = TextOfTokens(tiny_tokenizer.backend_tokenizer.decode)
    pieces = [text.add(half) for _ in range(8)]
    assert pieces == [""] * 7 + ["\ufffd" * 8]
    assert text.add(half) == ""
    assert text.rest() == "\ufffd"


def test_answers_that_have_ended_leave_the_batch(engine, loud_parts, monkeypatch):
    """What is said is what is said alone, whether drawn, greedy, or ended by a text."""
    monkeypatch.setattr(stretches, "STRETCH", 3)
    ids = greedy_ids(engine, LONG)
    stopping = ChatEngine(*loud_parts, stop_ids=[0, ids[4]])
    chats, sizes, generate_ = [LONG, SHORT, LONG], [], stopping.model.generate
    monkeypatch.setattr(stopping.model, "generate", lambda **kw: sizes.append(len(kw["input_ids"])) or generate_(**kw))
    text = engine.answer([LONG], GREEDY)[0].text[:3]
    for sampling in (
        GREEDY,
        Sampling(12, temperature=0, stop=(text,)),
        Sampling(12, temperature=0, repetition_penalty=1.3),
        Sampling(12, temperature=3.0, seed=(5, 6, 7), repetition_penalty=1.3),
    ):
        sizes.clear()
        found = stopping.answer(chats, sampling)
        together, alone = list(sizes), []
        for row, chat in enumerate(chats):
            seed = sampling.seed and sampling.seed[row]
            alone += stopping.answer([chat], dataclasses.replace(sampling, seed=seed))
        assert found == alone
        assert together[0] == 3 and together == sorted(together, reverse=True)
    stopping.answer(chats, GREEDY)
    assert sizes[-4:] == [3, 3, 1, 1]  # the fifth token ended two of them, twelve the third


def test_a_row_at_its_limit_leaves_the_batch(engine, monkeypatch):
    monkeypatch.setattr(stretches, "STRETCH", 5)
    monkeypatch.setattr(engine, "_limit", lambda prompt, sampling: 4 if prompt.text.count("fever") else 12)
    sizes, generate_ = [], engine.model.generate
    monkeypatch.setattr(engine.model, "generate", lambda **kw: sizes.append(len(kw["input_ids"])) or generate_(**kw))
    assert [answer.completion_tokens for answer in engine.answer([LONG, SHORT], GREEDY)] == [4, 12]
    assert sizes == [2, 1, 1]
