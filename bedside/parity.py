"""Is what a server renders what training saw? Compares, token by token, over many shapes of chat:

    python -m bedside.templates parity --url http://127.0.0.1:8000 --tokenizer merged-sft

what stands before an answer in training, what the server (vLLM) returns as the prompt it read, and what transformers'
`apply_chat_template` makes. Exit status: 0 all equal, 1 a difference, 2 a flag, model or server that cannot be used.
"""

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bedside import cli, documents, logs, models, parity_chats, templates
from bedside.args import flag
from bedside.data import records, tokens
from bedside.data.conversation import RowError
from bedside.errors import ConfigError
from bedside.parity_chats import Chat
from bedside.templates import Template

_TABLE = "parity"  # what its place in a document is called
_AT_ONCE = 8  # requests in flight
_TIMEOUT = 120  # seconds that one request may take
_AROUND = 6  # tokens shown on each side of a difference
_NO_LIMIT = 1 << 30


@dataclass
class ParityArguments:
    """Which server is compared with which tokenizer and template."""

    url: str = flag("http://127.0.0.1:8000", "address of a running vLLM server")
    tokenizer: str | None = flag(None, "model directory whose tokenizer (and template) was trained with")
    model: str | None = flag(None, "model name to ask for (default: the first that the server lists)")
    template_name: str | None = flag(None, "chat template (default: the one saved with the tokenizer)", ("template",))
    all: bool = flag(False, "every registered template, sent along; needs --trust-request-chat-template at the server")
    markdown: str | None = flag(
        None, f"write the table into this file, between {' and '.join(documents.marks(_TABLE))}"
    )


class Side(NamedTuple):
    """The prompt as one of the three sees it: its ids, or why there are none."""

    name: str
    ids: list[int] | None
    refusal: str = ""


class Result(NamedTuple):
    """One template: how many chats were compared and were equal, how many it refuses wherever it is rendered (they
    are not compared), and what differed, first one first."""

    template: str
    chats: int
    equal: int
    refused: int
    differences: list[str]


def trained(chat: Chat, tokenizer: Any, template: Template) -> Side:
    """What training puts before its first trained token of the last answer (the path of supervised_finetuning.py)."""
    # A run's --enable_thinking True is what a request's `enable_thinking: true` is held against.
    encoding = tokens.encoding_for(tokenizer, template, _NO_LIMIT, chat.enable_thinking or None)
    try:
        conversation = records.to_conversation(chat.row)
        (encoded,) = tokens.encode([conversation], tokenizer.backend_tokenizer, encoding)
        if encoded.error:
            raise RowError(*encoded.error)
    except RowError as error:
        return Side("training", None, str(error))
    sample = encoded.samples[-1]
    return Side("training", sample.ids[: sample.spans[-1][0]])


def applied(chat: Chat, tokenizer: Any) -> Side:
    """What `apply_chat_template` makes of the same messages, with tools and calls in the form templates expect."""
    from jinja2 import TemplateError

    try:
        read = records.to_conversation(chat.row)
    except RowError as error:
        return Side("transformers", None, str(error))
    messages = [
        {**message, "tool_calls": ours["tool_calls"]} if message.get("tool_calls") else message
        for message, ours in zip(chat.row["messages"], read["messages"], strict=True)
    ]
    switches = {} if chat.enable_thinking is None else {"enable_thinking": chat.enable_thinking}
    try:
        made = tokenizer.apply_chat_template(
            messages[:-1], tools=read.get("tools"), add_generation_prompt=True, return_dict=True, **switches
        )
    except (TemplateError, TypeError, ValueError) as error:
        return Side("transformers", None, str(error))
    return Side("transformers", list(made["input_ids"]))


def _request(url: str, body: dict | None = None) -> dict:
    """The JSON that `url` answers with; HTTPError for a refusal, ConfigError where no server is."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as reply:
            return json.load(reply)
    except urllib.error.HTTPError:
        raise
    except (urllib.error.URLError, ValueError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise ConfigError(f"--url: {url} does not answer ({reason}); start the server, or check the address") from None


def first_model(url: str) -> str:
    """The name of the first model that the server lists."""
    try:
        return _request(f"{url}/v1/models")["data"][0]["id"]
    except (urllib.error.HTTPError, KeyError, IndexError, TypeError):
        raise ConfigError(f"--url {url}: lists no model at /v1/models; expected an OpenAI-compatible server") from None


def served(chat: Chat, url: str, model: str, names: dict[str, str], source: str | None) -> Side:
    """The ids that the server read for the chat; `source` is a template to send along, with its special tokens."""
    switches = {} if chat.enable_thinking is None else {"enable_thinking": chat.enable_thinking}
    body = {"model": model, "messages": chat.row["messages"][:-1], "max_tokens": 1, "temperature": 0}
    body |= {"return_token_ids": True}
    if tools := chat.row.get("tools"):
        body |= {"tools": tools, "tool_choice": "none"}  # "none" needs no tool parser, and the prompt has the tools
    if source is not None:
        body["chat_template"] = source
        switches |= {name: names[name] for name in ("bos_token", "eos_token") if name in names}
    try:
        reply = _request(f"{url}/v1/chat/completions", body | {"chat_template_kwargs": switches})
    except urllib.error.HTTPError as error:
        return Side("server", None, _refusal(error, url))
    if not isinstance(reply.get("prompt_token_ids"), list):
        raise ConfigError(f"--url {url}: returns no prompt_token_ids; expected vLLM 0.11 or newer")
    return Side("server", reply["prompt_token_ids"])


def _refusal(error: urllib.error.HTTPError, url: str) -> str:
    """Why the server refused one chat; ConfigError if it would refuse every chat."""
    text = error.read().decode("utf-8", "replace")
    try:
        text = json.loads(text)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        text = text.strip()
    if "trust-request-chat-template" in text:
        raise ConfigError(f"--all: start the server at {url} with --trust-request-chat-template")
    if error.code != 400:
        raise ConfigError(f"--url {url}: answers with status {error.code} ({text[:200]})")
    return " ".join(text.split())[:200]


def difference(chat: Chat, sides: list[Side], decode: Any) -> str | None:
    """None if all sides have the same ids, else one line: who refuses the chat, and where which two of them part."""
    told = [f"{side.name} refuses it: {side.refusal}" for side in sides if side.ids is None]
    first, *others = [side for side in sides if side.ids is not None] or [Side("", [])]
    for other in others:
        if other.ids == first.ids:
            continue
        pairs = zip(first.ids, other.ids, strict=False)
        at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first.ids), len(other.ids)))
        shown = [decode(side.ids[max(0, at - _AROUND) : at + _AROUND]) for side in (first, other)]
        told.append(f"token {at}: {first.name} has {shown[0]!r}, {other.name} {shown[1]!r}")
    return f"{chat.shape}: {'; '.join(told)}" if told else None


def refused_by_all(sides: list[Side]) -> bool:
    """True if the template refuses the chat wherever it is rendered: nobody can train on it, nor ask it."""
    return all(side.ids is None for side in sides) and sides[0].refusal.startswith("E_TEMPLATE")


def _prepared(tokenizer_path: str, names: list[str | None]) -> list[tuple[Template, Any, dict, list[Chat]]]:
    """For each template name (None: the saved one) its template, a tokenizer that has it, special tokens, chats."""
    made = []
    for name in names:
        tokenizer = models.load_tokenizer(tokenizer_path)
        template = models.install_template(tokenizer, name, advise=False)
        special = {k: v for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str)}
        made.append((template, tokenizer, special, parity_chats.chats(template, special)))
    return made


def compare(
    url: str, tokenizer_path: str, names: list[str | None], model: str | None = None, send: bool = False
) -> list[Result]:
    """Compare every chat of every template in `names`; with `send` the template goes along with each request.

    Raises ConfigError for a server, tokenizer or template that cannot be used.
    """
    url = url.rstrip("/").removesuffix("/v1")
    model = model or first_model(url)
    prepared = _prepared(tokenizer_path, names)
    jobs = [
        (chat, url, model, special, template.source if send else None)
        for template, _, special, found in prepared
        for chat in found
    ]
    results = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = iter(logs.progress(pool.map(lambda job: served(*job), jobs), len(jobs), "parity", "chat"))
        try:
            for template, tokenizer, _, found in prepared:
                triples = [
                    (chat, [trained(chat, tokenizer, template), next(answers), applied(chat, tokenizer)])
                    for chat in found
                ]
                results.append(_result(template.name, triples, tokenizer.decode))
        finally:
            pool.shutdown(cancel_futures=True)
    return results


def _result(name: str, triples: list[tuple[Chat, list[Side]]], decode: Any) -> Result:
    compared = [(chat, sides) for chat, sides in triples if not refused_by_all(sides)]
    told = [line for chat, sides in compared if (line := difference(chat, sides, decode))]
    return Result(name, len(compared), len(compared) - len(told), len(triples) - len(compared), told)


def table(results: Iterable[Result]) -> list[str]:
    """The lines of a Markdown table, and a sentence with the totals in front of it."""
    results = list(results)
    chats, equal = sum(r.chats for r in results), sum(r.equal for r in results)
    share = "all equal" if chats == equal else f"{equal:,} equal, {chats - equal:,} different"
    lines = [f"{len(results)} template{'s' * (len(results) != 1)}, {chats:,} chats: {share}.", ""]
    lines += ["| template | chats | equal | refused alike | first difference |", "| --- | ---: | ---: | ---: | --- |"]
    for result in results:
        first = result.differences[0].replace("|", "\\|") if result.differences else ""
        lines.append(f"| `{result.template}` | {result.chats} | {result.equal} | {result.refused} | {first} |")
    return lines


def _settled(argv: list[str] | None) -> ParityArguments:
    args = cli.parse((ParityArguments,), argv, None, __doc__)[ParityArguments]
    problems = []
    if not args.tokenizer:
        problems.append("--tokenizer: give the model directory that the server serves (or its tokenizer's)")
    elif not Path(args.tokenizer).is_dir():
        problems.append(f"--tokenizer {args.tokenizer}: no such directory")
    if args.all and args.template_name:
        problems.append(f"--all and --template_name {args.template_name}: give one")
    if not args.url.startswith(("http://", "https://")):
        problems.append(f"--url {args.url}: expected an address such as http://127.0.0.1:8000")
    if problems:
        raise ConfigError(problems)
    return args


def main(argv: list[str] | None = None) -> int:
    """Compare, print the table, and return the exit status."""
    args = _settled(argv)
    logs.setup()
    if args.markdown:
        documents.place(args.markdown, _TABLE)  # told before minutes of comparing
    names = list(templates.REGISTRY) if args.all else [args.template_name]
    results = compare(args.url, args.tokenizer, names, args.model, send=args.all)
    lines = table(results)
    sys.stdout.write("\n".join(lines) + "\n")
    if args.markdown:
        documents.fill(args.markdown, _TABLE, lines)
        logs.info(f"wrote {args.markdown}")
    return 0 if all(0 < result.chats == result.equal for result in results) else 1
