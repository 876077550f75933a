"""Runs: what an agent has written so far of an answer, and waiting for the rest."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from blueprints.guards import viewer
from blueprints.parts import store
from chat import drafts, silence

bp = Blueprint("runs", __name__, url_prefix="/runs/<run_id>")


@bp.get("/partial")
def partial(run_id: str) -> ResponseReturnValue:
    """The answer as far as the store knows it; any frame that comes after this joins it."""
    who = viewer()
    return jsonify(store().read(lambda s: drafts.partial(s, who, run_id)))


@bp.post("/wait")
def wait(run_id: str) -> ResponseReturnValue:
    """Go on waiting for an answer that takes longer than usual."""
    who = viewer()
    return jsonify(store().write(lambda s: silence.wait(s, who, run_id)))
