"""Before the Streamlit page is drawn: who may use it, where it listens, and mistakes told on the page."""

from __future__ import annotations

import hmac
import os
import sys
from collections.abc import Callable, Mapping

import streamlit as st

from bedside.chatpage import safe
from bedside.chatpage.flags import PASSWORD, PageArguments
from bedside.cli import Parsed
from bedside.errors import ConfigError, UserError
from bedside.openers import is_loopback


def telling(main: Callable[[], None]) -> None:
    """Run `main`; a user's mistake becomes its sentences, on the page and in the terminal."""
    try:
        main()
    except UserError as mistake:
        for line in str(mistake).splitlines():
            sys.stderr.write(f"error: {line}\n")
            st.error(safe.markdown(line), icon=":material/error:")
    except SystemExit:  # --help
        st.info("--help: see the terminal")


def address() -> str:
    """The address that this Streamlit server listens on; without one it listens on all."""
    return st.get_option("server.address") or "0.0.0.0"


def check_place(parsed: Parsed) -> None:
    """ConfigError for --host and --port that are not those which Streamlit, started earlier, listens on."""
    args = parsed[PageArguments]
    listens = {"host": ("address", address()), "port": ("port", st.get_option("server.port"))}
    problems = [
        f"--{name} {getattr(args, name)}: `streamlit run` opened {place} before it read this flag; give it "
        f"--server.{option} {getattr(args, name)} in front of the --, or start with python instead"
        for name, (option, place) in listens.items()
        if name in parsed.given and getattr(args, name) != place
    ]
    if problems:
        raise ConfigError(problems)


def let_in(said: Mapping[str, str]) -> bool:
    """Whether to go on drawing: always on this machine's own address, else behind the password; asks for it."""
    if is_loopback(address()) or st.session_state.get("let_in"):
        return True
    password = os.environ.get(PASSWORD)
    if not password:
        st.error(said["unlocked"].format(address=address()))
        return False
    with st.form("door"):
        given = st.text_input(said["password"], type="password", key="password")
        entered = st.form_submit_button(said["enter"])
    if entered and hmac.compare_digest(given.encode(), password.encode()):
        st.session_state.let_in = True
        st.rerun()
    elif entered:
        st.error(said["wrong"])
    return False
