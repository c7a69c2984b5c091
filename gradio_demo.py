"""A chat page in the browser: the thought apart from the answer, one model or two side by side.

    python gradio_demo.py --lora_model outputs-sft
    python gradio_demo.py --base_model Qwen/Qwen3-4B --lora_model outputs-sft --load_in_4bit True --language zh
    python gradio_demo.py --lora_model outputs-sft --compare_base_model models/starter
    python gradio_demo.py --server http://127.0.0.1:8000

The page is at http://127.0.0.1:7860, in Chinese or English. It is reached from this machine only; with --host and a
password in BEDSIDE_PAGE_PASSWORD (user name: bedside) from others too. Nothing is fetched from or sent elsewhere.
"""

import os

from bedside import cli, errors, logs
from bedside.chatpage import engines, flags
from bedside.chatpage.flags import PageArguments


def main(argv: list[str] | None = None) -> None:
    # 1. What is asked for, before anything heavy is imported.
    parsed = cli.parse((PageArguments,), argv, description=__doc__)
    logs.setup()
    for note in parsed.notes:
        logs.info(note)
    flags.check(parsed, os.environ)
    args = parsed[PageArguments]
    try:
        import gradio  # noqa: F401
    except ImportError:
        raise errors.ConfigError("the page needs gradio; run: pip install -r requirements-demo.txt") from None

    # 2. Which models answer: loaded here, or on a server.
    first, second = engines.engines(parsed)
    names = engines.names(first, second)

    # 3. The page, until Ctrl-C.
    from bedside.chatpage import gradio_page, gradio_serve

    blocks = gradio_page.page([first] if second is None else [first, second], names, args)
    gradio_serve.serve(blocks, args)


if __name__ == "__main__":
    errors.run_command(main)
