"""Threads: list, open, delete, mark as read, ask again."""

from __future__ import annotations

import msgspec
from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from blueprints.guards import viewer
from blueprints.parts import store
from blueprints.requests import json_body, query_int
from chat import runs, threads
from chat.native import run_json
from chat.text import check_length, storable

bp = Blueprint("threads", __name__, url_prefix="/threads")

PAGE = 50  # threads


class NewThread(msgspec.Struct):
    agent: str
    title: str | None = None


class Read(msgspec.Struct):
    seq: int


@bp.get("")
def index() -> ResponseReturnValue:
    who, before, limit = viewer(), request.args.get("before"), query_int("limit", 1, 200) or PAGE
    return jsonify(store().read(lambda s: threads.page(s, who, before, limit)))


@bp.post("")
def create() -> ResponseReturnValue:
    who, new = viewer(), json_body(NewThread)
    title = new.title and check_length(storable(new.title, "title"), threads.TITLE, "title")
    shown = store().write(lambda s: threads.create(s, who, new.agent, title))
    return jsonify(shown), 201


@bp.delete("/<thread_id>")
def delete(thread_id: str) -> ResponseReturnValue:
    who = viewer()
    store().write(lambda s: threads.delete(s, who, thread_id))
    return "", 204


@bp.post("/<thread_id>/read")
def read(thread_id: str) -> ResponseReturnValue:
    who, seq = viewer(), json_body(Read).seq
    return jsonify(store().write(lambda s: threads.mark_read(s, who, thread_id, seq)))


@bp.post("/<thread_id>/retry")
def retry(thread_id: str) -> ResponseReturnValue:
    """Ask the agent again what it failed to answer, by a new run."""
    who = viewer()
    shown = store().write(lambda s: run_json(runs.retry(s, threads.hold_own(s, who, thread_id))))
    return jsonify(shown), 201
