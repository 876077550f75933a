"""Threads: list, open, delete, mark as read; stop an answer, ask again, show another branch."""

from __future__ import annotations

import msgspec
from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from blueprints.guards import viewer
from blueprints.parts import ask, store
from blueprints.requests import json_body, query_int
from chat import threads, turns
from chat.text import check_length, storable

bp = Blueprint("threads", __name__, url_prefix="/threads")

PAGE = 50  # threads


class NewThread(msgspec.Struct):
    agent: str
    title: str | None = None
    client_id: str | None = None


class Read(msgspec.Struct):
    seq: int


class Stop(msgspec.Struct):
    """Which answer is meant: whoever has seen it end must not stop the next one."""

    run_id: str | None = None


class Regenerate(msgspec.Struct):
    """An answer, or its question; the newest of the branch that is shown if none is named."""

    message_id: str | None = None


class Tip(msgspec.Struct):
    message_id: str


@bp.get("")
def index() -> ResponseReturnValue:
    who, before, limit = viewer(), request.args.get("before"), query_int("limit", 1, 200) or PAGE
    return jsonify(store().read(lambda s: threads.page(s, who, before, limit)))


@bp.post("")
def create() -> ResponseReturnValue:
    who, new = viewer(), json_body(NewThread)
    title = new.title and check_length(storable(new.title, "title"), threads.TITLE, "title")
    shown, repeated = store().write(lambda s: threads.create_once(s, who, new.agent, title, new.client_id))
    return jsonify(shown), 201, {"Idempotent-Replay": "true"} if repeated else {}


@bp.delete("/<thread_id>")
def delete(thread_id: str) -> ResponseReturnValue:
    who = viewer()
    store().write(lambda s: threads.delete(s, who, thread_id))
    return "", 204


@bp.post("/<thread_id>/read")
def read(thread_id: str) -> ResponseReturnValue:
    who, seq = viewer(), json_body(Read).seq
    return jsonify(store().write(lambda s: threads.mark_read(s, who, thread_id, seq)))


@bp.post("/<thread_id>/stop")
def stop(thread_id: str) -> ResponseReturnValue:
    """End the answer that is being written; what there is of it stays."""
    who, run_id = viewer(), json_body(Stop, {}).run_id
    return jsonify(store().write(lambda s: turns.stop(s, who, thread_id, run_id)))


@bp.post("/<thread_id>/retry")
def retry(thread_id: str) -> ResponseReturnValue:
    """Ask the agent again what it failed to answer, by a new run."""
    who = viewer()
    return jsonify(ask(lambda s: turns.retry(s, who, thread_id))), 201


@bp.post("/<thread_id>/regenerate")
def regenerate(thread_id: str) -> ResponseReturnValue:
    """Ask for another answer beside the one there is."""
    who, message_id = viewer(), json_body(Regenerate, {}).message_id
    return jsonify(ask(lambda s: turns.regenerate(s, who, thread_id, message_id))), 201


@bp.post("/<thread_id>/tip")
def tip(thread_id: str) -> ResponseReturnValue:
    """Show another branch of the conversation, and go on from there."""
    who, message_id = viewer(), json_body(Tip).message_id
    return jsonify(store().write(lambda s: turns.show(s, who, thread_id, message_id)))
