"""The gradio page over the scripted engine: `python -m tests.browser.gradio_server [--two]`, flags of gradio_demo."""

import os
import sys

from bedside import cli, errors, logs
from bedside.chatpage import flags, gradio_page, gradio_serve
from bedside.chatpage.flags import PageArguments

from .cases import CaseEngine


def main() -> None:
    argv = [word for word in sys.argv[1:] if word != "--two"]
    parsed = cli.parse((PageArguments,), argv)
    logs.setup()
    flags.check(parsed, os.environ)
    engines = [CaseEngine()]
    if "--two" in sys.argv:
        engines.append(CaseEngine("base", says="Base: "))
    args = parsed[PageArguments]
    gradio_serve.serve(gradio_page.page(engines, [engine.name for engine in engines], args), args)


if __name__ == "__main__":
    errors.run_command(main)
