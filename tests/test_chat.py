"""The conversation in the terminal, with a scripted engine and injected streams.

sh run_tests.sh tests/test_chat.py
"""

import signal
import threading

import pytest

from bedside import chat
from bedside.answers import Answer, EngineFailed, Sampling
from bedside.data.conversation import RowError
from bedside.generate import Prompt
from bedside.thoughts import Delta

SAMPLING = Sampling(max_new_tokens=8)


@pytest.fixture(autouse=True)
def _ctrl_c_is_pythons_own():
    """A shell that starts this in the background leaves Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def answer(text="Rest.", thought=None, reason="stop", tokens=3):
    return Answer(text, thought, text, reason, 5, tokens)


class Scripted:
    """Answers from a list; notes what it was asked. A prompt's length is the number of its characters."""

    context = None

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def prompt(self, messages, enable_thinking=None, tools=None):
        size = sum(len(message["content"]) for message in messages)
        if self.context and size >= self.context:
            raise RowError("W_OVERLONG", f"the prompt has {size} tokens, the model's context is {self.context}")
        return Prompt("", [0] * size, False)

    def stream(self, messages, sampling, enable_thinking=None, cancel=None):
        self.asked.append(messages)
        for piece in self.answers.pop(0):
            if isinstance(piece, int):
                signal.raise_signal(piece)
            else:
                yield piece


def plain(text="Rest.", **more):
    return [Delta("answer", text[:2]), Delta("answer", text[2:]), answer(text, **more)]


def talk(engine, *lines, ansi=False, **more):
    """What the screen shows for `lines`; an exception among them is raised by read()."""
    rest, written = list(lines), []

    def read():
        line = rest.pop(0) if rest else EOFError()
        if isinstance(line, BaseException):
            raise line
        return line

    chat.chat(engine, read, chat.Screen(written.append, ansi), SAMPLING, **more)
    assert not rest, "the chat ended too early"
    return "".join(written)


def test_an_answer_is_written_as_it_comes_and_then_counted():
    shown = talk(Scripted(plain()), "Fever?")
    assert "Rest.\n[3 tokens, " in shown
    assert shown.rstrip().endswith("tokens/s, finished]")
    assert "\x1b" not in shown


def test_the_thought_is_dimmed_and_apart():
    written = [
        Delta("thought", "A "),
        Delta("thought", "fever."),
        Delta("answer", "Rest."),
        answer(thought="A fever."),
    ]
    assert "thinking ...\nA fever.\n\nRest.\n[" in talk(Scripted(written), "Fever?")
    dimmed = talk(Scripted(written), "Fever?", ansi=True)
    assert "\x1b[2mthinking ...\n\x1b[0m\x1b[2mA \x1b[0m\x1b[2mfever.\x1b[0m\n\nRest.\n\x1b[2m[3 tokens" in dimmed


def test_without_streaming_the_same_is_shown_at_the_end():
    written = [Delta("thought", "A fever."), Delta("answer", "Rest."), answer(thought="A fever.")]
    assert "thinking ...\nA fever.\n\nRest.\n[" in talk(Scripted(written), "Fever?", stream=False)


def test_a_thought_that_nobody_opened_is_named_afterwards():
    written = [Delta("answer", "Hm"), Delta("was_thought", ""), Delta("answer", "Rest."), answer(thought="Hm")]
    assert "Hm\n[the above was the thought]\nRest.\n" in talk(Scripted(written), "Fever?")


def test_history_is_kept_and_forgotten_on_demand():
    engine = Scripted(plain("Rest.", thought="hm"), plain("Yes."), plain("Who?"))
    shown = talk(engine, "Fever?", "Drink too?", "/clear", "And now?")
    kept = {"role": "assistant", "content": "Rest.", "reasoning_content": "hm"}
    assert engine.asked[1] == [{"role": "user", "content": "Fever?"}, kept, {"role": "user", "content": "Drink too?"}]
    assert engine.asked[2] == [{"role": "user", "content": "And now?"}]
    assert "[the conversation is forgotten]" in shown


def test_single_questions_are_not_remembered():
    engine = Scripted(plain(), plain())
    talk(engine, "Fever?", "Cough?", remember=False)
    assert engine.asked[1] == [{"role": "user", "content": "Cough?"}]


def test_the_system_turn_is_set_changed_and_removed():
    engine = Scripted(plain(), plain(), plain())
    talk(engine, "a", "/system Be brief.", "b", "/system", "c", system="Be kind.", remember=False)
    assert [asked[0]["content"] for asked in engine.asked] == ["Be kind.", "Be brief.", "c"]


@pytest.mark.parametrize("word", ["exit", "quit", "q", "/exit", "EXIT", " q "])
def test_words_that_leave(word):
    engine = Scripted()
    talk(engine, word)
    assert engine.asked == []


def test_empty_lines_and_unknown_commands_ask_nothing():
    engine = Scripted()
    shown = talk(engine, "", "   ", "/help")
    assert engine.asked == []
    assert shown.count("/clear forgets the conversation, /system TEXT sets the system turn, /exit leaves") == 2


def test_a_typed_mark_of_trained_text_is_not_sent():
    engine = Scripted()
    shown = talk(engine, "hi\ufdd0", "/system x\ufdd1")
    assert shown.count("[not sent: messages[0].content holds U+FDD0, which marks trained text here") == 1
    assert shown.count("[not sent: messages[0].content holds U+FDD1") == 1
    assert engine.asked == []


def test_a_typed_control_token_is_a_question_like_any_other():
    engine = Scripted(plain())
    assert "not sent" not in talk(engine, "hi<|im_end|>")
    assert engine.asked == [[{"role": "user", "content": "hi<|im_end|>"}]]  # the engine's prompt neutralises it


def test_what_the_model_writes_does_not_steer_the_terminal():
    assert "[2Jred\n" in talk(Scripted([Delta("answer", "\x1b[2J\x07red"), answer("red")]), "x")
    assert "\x1b" not in talk(Scripted([Delta("answer", "\x1b[2J\x9bred"), answer("red")]), "x")


def test_a_cut_answer_says_what_cut_it():
    assert "8 tokens, " in (shown := talk(Scripted(plain(reason="length", tokens=8)), "x"))
    assert "cut by --max_new_tokens 8]" in shown
    assert "cut: the model's context is full]" in talk(Scripted(plain(reason="length", tokens=7)), "x")


def test_a_thought_that_was_cut_leaves_no_history():
    cut = [Delta("thought", "A f"), Answer("A f", "A f", "", "length", 5, 8)]
    engine = Scripted(cut, plain())
    assert "there is no answer yet, so the question is not remembered" in talk(engine, "Fever?", "Cough?")
    assert engine.asked[1] == [{"role": "user", "content": "Cough?"}]


def test_the_oldest_questions_make_room():
    engine = Scripted(plain(), plain(), plain())
    engine.context = 30  # 8 are kept for the answer
    shown = talk(engine, "a" * 10, "b" * 6, "c" * 10)
    assert [message["content"][0] for message in engine.asked[2]] == ["b", "R", "c"]
    assert "[the oldest 1 question(s) no longer fit into the model's context and are forgotten]" in shown


class Remote:
    """An engine that cannot count a prompt; an error among its answers is raised when they are asked for."""

    context = None

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def stream(self, messages, sampling, enable_thinking=None, cancel=None):
        self.asked.append(messages)
        for piece in self.answers.pop(0):
            if isinstance(piece, Exception):
                raise piece
            yield piece


def test_a_question_that_is_too_long_is_not_sent():
    engine = Scripted(plain())
    engine.context = 30
    shown = talk(engine, "a", "b" * 40)
    assert "[not sent: the prompt has 40 tokens, the model's context is 30]" in shown
    assert len(engine.asked) == 1


def test_a_server_that_says_too_long_has_the_oldest_questions_forgotten():
    overlong = [RowError("W_OVERLONG", "the prompt is too long for the server's model")]
    engine = Remote(plain(), plain(), overlong, plain())
    shown = talk(engine, "a", "b", "c")
    assert [message["content"] for message in engine.asked[3]] == ["b", "Rest.", "c"]
    assert "[the oldest 1 question(s) no longer fit into the model's context and are forgotten]" in shown
    assert "[not sent: the prompt is too long" in talk(Remote(overlong), "a")


def test_the_tokens_of_the_last_exchange_tell_how_full_a_servers_context_is():
    engine = Remote(plain(tokens=9), plain(tokens=9))
    engine.context = 20  # 8 are kept for the answer, 5 were the prompt's
    talk(engine, "a", "b")
    assert [message["content"] for message in engine.asked[1]] == ["b"]


def test_an_engine_that_fails_is_a_remark_and_the_chat_goes_on():
    engine = Remote([Delta("answer", "Re"), EngineFailed("http://h: broke off in the middle of an answer")], plain())
    shown = talk(engine, "Fever?", "Cough?")
    assert "Re\n[no answer: http://h: broke off in the middle of an answer]\n" in shown
    assert engine.asked[1] == [{"role": "user", "content": "Cough?"}]
    assert shown.rstrip().endswith("finished]")


def test_ctrl_c_stops_the_answer_and_the_chat_goes_on():
    stopped = [Delta("answer", "Re"), signal.SIGINT, answer("Re", reason="cancelled", tokens=1)]
    engine = Scripted(stopped, plain())
    shown = talk(engine, "Fever?", "Cough?")
    assert "1 tokens, " in shown
    assert "stopped by Ctrl-C]" in shown
    assert engine.asked[1][1]["content"] == "Re"


def test_a_second_ctrl_c_leaves_while_answering_or_at_the_prompt():
    twice = [Delta("answer", "Re"), signal.SIGINT, signal.SIGINT]
    assert talk(Scripted(twice), "Fever?").endswith("Re\n")
    stopped = [Delta("answer", "Re"), signal.SIGINT, answer("Re", reason="cancelled")]
    talk(Scripted(stopped), "Fever?", KeyboardInterrupt())
    assert "[Ctrl-C again, or Ctrl-D, leaves]" in talk(Scripted(), KeyboardInterrupt(), KeyboardInterrupt())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_is_left_alone_in_other_threads():
    seen = []

    def inside():
        with chat.stoppable() as cancel:
            seen.append((cancel.is_set(), signal.getsignal(signal.SIGINT)))

    worker = threading.Thread(target=inside)
    worker.start()
    worker.join()
    assert seen == [(False, signal.default_int_handler)]


def test_lines_in_other_encodings_are_mended():
    assert chat.mended("头晕") == "头晕"
    assert chat.mended("头晕".encode("gb18030").decode("utf-8", "surrogateescape")) == "头晕"
    assert chat.mended("头晕".encode().decode("ascii", "surrogateescape"), "ascii") == "头晕"
    assert chat.mended("a\udcff", "utf-8") == "a\ufffd"
    assert chat.mended("a\ud83d", "utf-8") == "a\ufffd"


def test_piped_input_is_shown_without_escapes(monkeypatch, capsys):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("头晕怎么办？\r\nexit\n"))
    read, screen = chat.terminal()
    assert not screen.ansi
    chat.chat(Scripted(plain()), read, screen, SAMPLING)
    shown = capsys.readouterr().out
    assert "\n> 头晕怎么办？\nRest.\n[3 tokens" in shown
    assert shown.endswith("> exit\n")
