"""What every engine keeps to: the same tests for a model in this process and for one behind a server.

sh run_tests.sh tests/engine/test_contract.py
"""

from concurrent.futures import ThreadPoolExecutor

from bedside.answers import Sampling
from tests.engine.dictated import GREEDY, HOT, LONG, SHORT, SYSTEM, put_together, run


def test_it_has_a_name_and_says_whether_it_thinks(engine):
    assert isinstance(engine.name, str)
    assert engine.name
    assert engine.thinks is True


def test_deltas_put_together_are_the_answer(engine):
    deltas, last = run(engine.stream(SHORT, GREEDY))
    assert put_together(deltas) == (last.thought or "", last.answer)
    assert last.answer


def test_thought_and_answer_are_apart(engine, dictate):
    dictate("<think>\nA fever.\n</think>\n\nRest.")
    deltas, last = run(engine.stream(SHORT, Sampling(100)))
    assert (last.thought, last.answer, last.finish_reason) == ("A fever.", "Rest.", "stop")
    assert put_together(deltas) == ("A fever.", "Rest.")
    assert [kind for kind, _ in deltas] == sorted((kind for kind, _ in deltas), reverse=True)


def test_the_same_whole(engine, dictate):
    dictate("<think>\n先量体温。\n</think>\n\n多喝水。")
    found = engine.answer([SHORT], Sampling(200))[0]
    assert (found.thought, found.answer, found.finish_reason) == ("先量体温。", "多喝水。", "stop")


def test_an_answer_without_a_thought_has_none(engine, dictate):
    dictate("Rest.")
    assert engine.answer([SHORT], Sampling(50))[0].thought is None
    deltas, last = run(engine.stream(SHORT, Sampling(50)))
    assert (last.thought, last.answer) == (None, "Rest.")
    assert {delta.kind for delta in deltas} == {"answer"}


def test_a_thought_that_was_cut_is_no_answer(engine, dictate):
    dictate("<think>\nA fever, and so on and on", ended=False)
    deltas, last = run(engine.stream(SHORT, Sampling(8)))
    assert last.thought.startswith("A fe")
    assert (last.answer, last.finish_reason) == ("", "length")
    assert {delta.kind for delta in deltas} == {"thought"}


def test_a_thought_that_nobody_opened_is_told_when_it_closes(engine, dictate):
    dictate("A fever.\n</think>\n\nRest.")
    deltas, last = run(engine.stream(SHORT, Sampling(100)))
    assert put_together(deltas) == ("A fever.", "Rest.")
    assert (last.thought, last.answer) == ("A fever.", "Rest.")


def test_blanks_around_the_parts_belong_to_neither(engine, dictate):
    dictate("<think>\n\n  A fever. \n\n</think>\n\n\n Rest. \n")
    deltas, last = run(engine.stream(SHORT, Sampling(100)))
    assert (last.thought, last.answer) == ("A fever.", "Rest.")
    assert put_together(deltas) == ("A fever.", "Rest.")


def test_temperature_0_repeats(engine):
    assert engine.answer([SHORT], GREEDY) == engine.answer([SHORT], GREEDY)


def test_a_seed_repeats_and_another_does_not(engine):
    first = engine.answer([SHORT], HOT)[0].text
    assert engine.answer([SHORT], HOT)[0].text == first
    other = Sampling(24, 1.5, seed=8)
    assert engine.answer([SHORT], other)[0].text != first


def test_answer_and_stream_are_the_same(engine):
    for sampling in (GREEDY, HOT):
        whole = engine.answer([LONG], sampling)[0]
        assert run(engine.stream(LONG, sampling))[1] == whole


def test_a_stop_text_ends_the_answer_and_is_not_part_of_it(engine, dictate):
    dictate("Rest. END and more", ended=False)
    stopping = Sampling(100, stop=(" END",))
    deltas, last = run(engine.stream(SHORT, stopping))
    assert (last.answer, last.finish_reason) == ("Rest.", "stop")
    assert put_together(deltas) == ("", "Rest.")
    assert engine.answer([SHORT], stopping)[0].answer == "Rest."


def test_the_longest_answer_is_told_as_such(engine):
    found = engine.answer([SHORT], GREEDY)[0]
    assert (found.finish_reason, found.completion_tokens) == ("length", 12)
    last = run(engine.stream(SHORT, GREEDY))[1]
    assert (last.finish_reason, last.completion_tokens) == ("length", 12)


def test_tokens_are_counted(engine, inside):
    for chat in (SHORT, LONG, SYSTEM + SHORT):
        last = run(engine.stream(chat, GREEDY))[1]
        assert last.prompt_tokens == len(inside.prompt(chat).ids)


def test_characters_of_several_tokens_come_whole(engine, dictate):
    dictate("胸🩺痛，请立刻就医。")
    deltas, last = run(engine.stream(SHORT, Sampling(200)))
    assert last.answer == "胸🩺痛，请立刻就医。"
    assert "".join(delta.text for delta in deltas) == last.answer
    assert not any("\ufffd" in delta.text for delta in deltas)


def test_answers_come_in_the_order_of_the_questions(engine):
    chats = [
        [{"role": "user", "content": f"Fever for {number} days?" + " Cough." * (number % 3)}] for number in range(6)
    ]
    apart = [engine.answer([chat], GREEDY)[0] for chat in chats]
    assert engine.answer(chats, GREEDY) == apart
    assert engine.answer(chats[::-1], GREEDY) == apart[::-1]


def test_nothing_asked_is_nothing_answered(engine):
    assert engine.answer([], GREEDY) == []


def test_many_threads_get_their_own_answers(engine):
    chats = [[{"role": "user", "content": f"Fever for {number} days?"}] for number in range(8)]
    apart = [engine.answer([chat], GREEDY)[0] for chat in chats]
    with ThreadPoolExecutor(8) as pool:
        streamed = list(pool.map(lambda chat: run(engine.stream(chat, GREEDY))[1], chats))
        whole = list(pool.map(lambda chat: engine.answer([chat], GREEDY)[0], chats))
    assert streamed == whole == apart


def test_the_settings_are_not_the_models_own(engine, inside):
    """A generation_config that asks for something else changes nothing."""
    before = engine.answer([SHORT], GREEDY)
    config = inside.model.generation_config
    config.no_repeat_ngram_size, config.max_length = 1, 3
    try:
        assert engine.answer([SHORT], GREEDY) == before
    finally:
        config.no_repeat_ngram_size, config.max_length = None, None
