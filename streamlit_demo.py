"""A page to ask a model, in Streamlit: its thought in a fold-out, its answer beneath, two models side by side.

    streamlit run streamlit_demo.py                                  # asks the server at http://127.0.0.1:8000
    streamlit run streamlit_demo.py -- --server http://127.0.0.1:8001 --language zh
    python streamlit_demo.py --lora_model outputs-sft                # loads the model here; the same page
    python streamlit_demo.py --lora_model outputs-sft --compare_lora_model outputs-dpo

The server is vLLM, fastapi_server_demo.py or another that speaks OpenAI's protocol. The page is at
http://127.0.0.1:8501, for this machine only, as .streamlit/config.toml says; other machines need --host and a password
in the environment variable BEDSIDE_PAGE_PASSWORD. Nothing is sent to anybody else.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from bedside import cli, errors, logs
from bedside.chatpage import flags
from bedside.chatpage.flags import PageArguments

SERVER = "http://127.0.0.1:8000"
PORT = 8501


def main(argv: list[str] | None = None) -> None:
    # 1. What is asked for. Without a model or a server it is the server of the other terminal.
    argv = sys.argv[1:] if argv is None else argv
    parsed = cli.parse((PageArguments,), argv, description=__doc__)
    logs.setup()
    args = parsed[PageArguments]
    if not {"server", "base_model", "lora_model"} & parsed.given:
        args.server = SERVER
    flags.check(parsed, os.environ)
    args.port = args.port or PORT

    # 2. Started by Python: Streamlit takes over this process and runs this file again, once for every drawing.
    if not drawing():
        for note in parsed.notes:
            logs.info(note)
        start(args, argv)
        return

    # 3. Started by Streamlit: draw the page. The engines are loaded once and shared by all visitors.
    from bedside.chatpage import engines, streamlit_door, streamlit_page

    streamlit_door.check_place(parsed)
    streamlit_page.show(args, lambda: engines.engines(parsed))


def drawing() -> bool:
    """Whether Streamlit runs this file, to draw the page; it has then been imported before."""
    streamlit = sys.modules.get("streamlit.runtime")
    return streamlit is not None and streamlit.exists()


def start(args: PageArguments, argv: list[str]) -> None:
    """Become `streamlit run` of this file. Its look and what it may send are settled in .streamlit/config.toml."""
    if find_spec("streamlit") is None:
        raise errors.ConfigError("streamlit is not installed; run: pip install -r requirements-demo.txt")
    served = ["--server.address", args.host, "--server.port", str(args.port)]
    if args.host not in ("127.0.0.1", "localhost"):
        served += ["--server.allowedHosts", "*"]  # known to other machines by names that we do not know
    command = [sys.executable, "-m", "streamlit", "run", str(Path(__file__).resolve()), *served, "--", *argv]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    if drawing():  # a script of Streamlit's must not end its process
        from bedside.chatpage.streamlit_door import telling

        telling(main)
    else:
        errors.run_command(main)
