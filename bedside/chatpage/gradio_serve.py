"""How the gradio page is served: on this machine unless told, with what lies here, and nothing from elsewhere."""

from __future__ import annotations

import os
from importlib import resources
from typing import Any

from bedside import logs
from bedside.chatpage.flags import PASSWORD, PageArguments
from bedside.errors import ConfigError

PORT = 7860
# Whatever stands in an answer, the browser loads nothing from another host and sends nothing there.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "object-src 'none'; frame-src 'none'; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class Confined:
    """ASGI middleware that puts the headers on every reply which keep the page on this host."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        async def sent(message: dict) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
            await send(message)

        await self.app(scope, receive, sent if scope["type"] == "http" else send)


def theme() -> Any:
    """Calm colours, and fonts that the machine has: none is fetched."""
    import gradio as gr

    fonts = ["system-ui", "Segoe UI", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif"]
    return gr.themes.Base(
        primary_hue="teal", neutral_hue="slate", radius_size="md", font=fonts,
        font_mono=["ui-monospace", "Consolas", "monospace"],
    ).set(
        button_primary_background_fill="*primary_700", button_primary_background_fill_hover="*primary_600"
    )  # fmt: skip


def serve(blocks: Any, args: PageArguments, block: bool = True) -> None:
    """Serve the page until Ctrl-C (`block` False: go on at once). ConfigError if the port is taken."""
    from starlette.middleware import Middleware

    port = args.port or PORT
    password = os.environ.get(PASSWORD)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        blocks.launch(
            server_name=args.host, server_port=port, share=False, quiet=True, prevent_thread_lock=True,
            auth=("bedside", password) if password else None, footer_links=[], run_history=False, ssr_mode=False,
            mcp_server=False, enable_monitoring=False, pwa=False, show_error=False, theme=theme(),
            css=resources.files("bedside.chatpage").joinpath("gradio.css").read_text(encoding="utf-8"),
            app_kwargs={"middleware": [Middleware(Confined)]},
        )  # fmt: skip
    except OSError:
        raise ConfigError(f"--port {port}: the port of {args.host} is taken; choose another with --port") from None
    logs.info(f"the page is at http://{args.host}:{port} (Ctrl-C ends it)")
    if block:
        blocks.block_thread()
