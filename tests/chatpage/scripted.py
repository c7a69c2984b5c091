"""An engine that says what a script tells it to, piece by piece."""

from threading import Event

from bedside.answers import Answer
from bedside.thoughts import Delta


class Scripted:
    """Yields `pieces` (Deltas, or an exception to raise), then the Answer they make; waits `pause` seconds between.

    `asked` holds the messages of every request.
    """

    def __init__(self, *pieces, name="scripted", finish="stop", pause=0.0):
        self.pieces, self.name, self.finish, self.pause = pieces, name, finish, pause
        self.thinks, self.asked, self.closed = True, [], 0

    def stream(self, messages, sampling, enable_thinking=None, cancel=None):
        """Deltas, then the Answer."""
        cancel, said = cancel or Event(), {"thought": "", "answer": ""}
        self.asked.append(messages)
        try:
            for piece in self.pieces:
                if cancel.wait(self.pause) if self.pause else cancel.is_set():
                    break
                if isinstance(piece, Exception):
                    raise piece
                if piece.kind == "was_thought":
                    said = {"thought": said["answer"], "answer": ""}
                else:
                    said[piece.kind] += piece.text
                yield piece
            finish = "cancelled" if cancel.is_set() else self.finish
            yield Answer("", said["thought"] or None, said["answer"], finish, 5, 7)
        finally:
            self.closed += 1


def thought(text):
    return Delta("thought", text)


def answer(text):
    return Delta("answer", text)
