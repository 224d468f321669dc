"""Errors, as people and programs read them: on stderr, with an exit code and never with a traceback of ours."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence

import click

from ampacity.model.errors import AmpacityError, UserError

FAILED = 1
USAGE = 2
INTERRUPTED = 130


class Usage(click.UsageError):
    """The command line is wrong. ``hint`` says what to write."""

    def __init__(self, message: str, *, hint: str = "", ctx: click.Context | None = None) -> None:
        super().__init__(message, ctx)
        self.hint = hint


def exit_code_of(error: Exception, args: Sequence[str]) -> int:
    """Say the error and give its exit code. Raises it again when it is none that a user can meet by right."""
    as_json = "--json" in args[: args.index("--")] if "--" in args else "--json" in args
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.Abort):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return FAILED
    if isinstance(error, click.ClickException):
        say("usage", *_of_click(error), as_json=as_json)
        return USAGE
    if isinstance(error, AmpacityError):
        say_error(error, as_json=as_json)
        return USAGE if isinstance(error, UserError) else FAILED
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        say("os_error", f"{where}{error.strerror or error}", "", as_json=as_json)
        return FAILED
    raise error


def say_error(error: AmpacityError, *, as_json: bool) -> None:
    if as_json:
        from ampacity.api.wire import error_to_wire

        _write(json.dumps({"error": error_to_wire(error)}, ensure_ascii=False))
    else:
        say(error.code, error.message, error.hint, as_json=False)


def say(code: str, message: str, hint: str, *, as_json: bool) -> None:
    """``error: <what, where>`` and, on the next line, ``hint: <what to do>``."""
    if as_json:
        _write(json.dumps({"error": {"code": code, "message": message, "hint": hint, "where": {}}}, ensure_ascii=False))
        return
    _write(f"{_paint('error:', 'red')} {_indented(message, 7)}")
    if hint:
        _write(f" {_paint('hint:', 'cyan')} {_indented(hint, 7)}")


def unknown_verb(name: str, known: Sequence[str], ctx: click.Context) -> Usage:
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1)
    hint = f"Did you mean `ampacity {near[0]}`?" if near else "`ampacity --help` lists the verbs."
    return Usage(f"There is no verb {name!r}.", hint=hint, ctx=ctx)


def _of_click(error: click.ClickException) -> tuple[str, str]:
    """Message and hint; click puts what was meant into the message."""
    message, hint = error.format_message(), getattr(error, "hint", "")
    meant = re.search(r" ?\(?(Did you mean .*?\?)\)?\.?$", message)
    if meant is not None:
        message, hint = message[: meant.start()], hint or meant[1]
    if not hint and isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f"`{error.ctx.command_path} --help` shows how it is used."
    return message if message.endswith((".", "?", "!")) else f"{message}.", hint


def _indented(text: str, by: int) -> str:
    return text.replace("\n", "\n" + " " * by)


def _paint(text: str, colour: str) -> str:
    plain = not sys.stderr.isatty() or bool(os.environ.get("NO_COLOR"))
    return text if plain else click.style(text, fg=colour, bold=True)


def _write(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
