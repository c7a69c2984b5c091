"""Whether a template fits a tokenizer and the rows, before a thousand of them are dropped one by one."""

from tokenizers import Tokenizer

from bedside import templates
from bedside.data import tokens
from bedside.data.conversation import Conversation, RowError
from bedside.errors import ConfigError
from bedside.templates import single_pass, turn_ends_of
from bedside.templates.nearest import nearest

_NAMED = 8  # of the templates that a tokenizer has the tokens for, a message names so many


def check_template(conversations: list[Conversation], tokenizer: Tokenizer, encoding: tokens.Encoding) -> None:
    """Raise ConfigError unless the template trains what it would serve, on these conversations.

    That is: it shows where answers stand, a served prompt's ids are the beginning of the trained ids, the turn end
    is trained, and no thought is left out. Rows that the template refuses are not its misfits: `encode` tells them.
    """
    lost, seen = 0, 0
    for conversation in conversations:
        try:
            conversation, _ = tokens.without_control(conversation, encoding.forbidden)
            for messages in tokens.targets(conversation, encoding):
                _check_target(messages, conversation.get("tools"), tokenizer, encoding)
            seen += 1
        except tokens.NotLocated:
            lost += 1
        except RowError:
            continue
    if lost and not seen:
        raise _misfit(
            tokenizer, encoding, "does not show where an answer begins and ends, so nothing could be trained"
        )


def _check_target(
    messages: list[dict], tools: list[dict] | None, tokenizer: Tokenizer, encoding: tokens.Encoding
) -> None:
    template, switches, last = encoding.template, tokens.switches_for(messages, encoding), messages[-1]
    rendered = tokens.render_target(messages, tools, encoding)
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    whole = tokenizer.encode(rendered.text, add_special_tokens=False).ids
    for index in answers if single_pass(template) else answers[-1:]:
        prompt = template.render(messages[:index], tools, add_generation_prompt=True, **encoding.names, **switches)
        served = tokenizer.encode(prompt.text, add_special_tokens=False).ids
        if whole[: len(served)] != served:
            raise _misfit(tokenizer, encoding, "gives a served prompt other ids than training would give it")
    for start, end in rendered.spans:
        if end > start and not rendered.text[start:end].rstrip().endswith(turn_ends_of(template, encoding.names)):
            raise _misfit(
                tokenizer, encoding, "does not train the token that ends a turn, so no answer would ever end"
            )
    thought = (last.get("reasoning_content") or "").strip()
    if thought and encoding.enable_thinking is not False and thought not in rendered.text:
        raise _misfit(tokenizer, encoding, "leaves thoughts out (--enable_thinking False trains answers alone)")


def _misfit(tokenizer: Tokenizer, encoding: tokens.Encoding, what: str) -> ConfigError:
    name = encoding.template.name
    fitting = templates.fitting(lambda token: tokenizer.token_to_id(token) is not None)
    if name in templates.REGISTRY:
        others = [other for other in fitting if other != name][:_NAMED]
        return ConfigError(f"template {name} {what}; add --template_name ({', '.join(others)}, ...)")
    near = nearest(encoding.template.source, encoding.names)
    advice = f"{near[0]} (the nearest one)" if near and near[0] in fitting else f"({', '.join(fitting[:_NAMED])}, ...)"
    return ConfigError(
        f"{name} template {what}; add --template_name {advice}, or a file of your own (docs/templates.md tells how)"
    )
