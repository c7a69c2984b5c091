"""The Streamlit page over the scripted engine: `streamlit run ... -- DIRECTORY LANGUAGE [two]`, by test_streamlit.py.

What the engine is asked, and how each answer ended, goes to the terminal, where the test reads it. A question with
"HOLD name" is held up within its thought until DIRECTORY/name.thought is there, within its answer until name.answer.
"""

import json
import re
import sys
from pathlib import Path

from bedside.answers import Answer
from bedside.chatpage import streamlit_door, streamlit_page
from bedside.chatpage.flags import PageArguments
from tests.browser.cases import CaseEngine

_HELD_AFTER = 12  # pieces of a thought or an answer


class Noted(CaseEngine):
    """The scripted engine, writing down what happens to it; a question with "CUT" runs into the limit of tokens."""

    def stream(self, messages, sampling, enable_thinking=None, cancel=None):
        asked = [self.name, sampling.temperature, sampling.max_new_tokens, messages]
        sys.stderr.write(f"asked {json.dumps(asked, ensure_ascii=False)}\n")
        question, seen = messages[-1]["content"], {"thought": 0, "answer": 0}
        held = re.search(r"HOLD (\w+)", question)
        for piece in super().stream(messages, sampling, enable_thinking, cancel):
            if isinstance(piece, Answer):
                sys.stderr.write(f"ended {self.name} {piece.finish_reason}\n")
                if "CUT" in question:
                    piece = Answer("", piece.thought, piece.answer, "length", 20, 80)
            yield piece
            if held and not isinstance(piece, Answer):
                seen[piece.kind] += 1
                gate = Path(sys.argv[1]) / f"{held[1]}.{piece.kind}"
                while seen[piece.kind] == _HELD_AFTER and not gate.exists() and not cancel.wait(0.05):
                    pass


def main() -> None:
    first, second = Noted(), Noted("base", says="Base: ") if "two" in sys.argv else None
    streamlit_page.show(PageArguments(language=sys.argv[2]), lambda: (first, second))


streamlit_door.telling(main)
