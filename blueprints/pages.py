"""The chat page, with the history and its cursor inside, so that nothing is missed between page and stream."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from blueprints.guards import viewer
from blueprints.parts import store
from chat import agents, messages, threads
from chat.accounts import Viewer
from chat.native import threads_json
from chat.text import PERSON_TEXT

bp = Blueprint("pages", __name__)

THREADS = 50
MESSAGES = 50


@bp.get("/")
def home() -> ResponseReturnValue:
    return chat_page(None)


@bp.get("/chat/<thread_id>")
def chat(thread_id: str) -> ResponseReturnValue:
    return chat_page(thread_id)


def chat_page(thread_id: str | None) -> ResponseReturnValue:
    who = viewer()
    state = store().read(lambda s: page_state(s, who, thread_id))
    return render_template("chat.html", state=state, user=state["user"], tenant=who.user.tenant, agents=state["agents"])


def page_state(session: Session, who: Viewer, thread_id: str | None) -> dict[str, Any]:
    """All that the page shows at first, from one transaction; its cursor is the oldest of what it holds."""
    listed = threads.page(session, who, None, THREADS)
    thread = thread_id and threads.fetch_own(session, who, thread_id)
    return {
        "cursor": listed["cursor"],
        "threads": {"items": listed["items"], "next": listed["next"]},
        "thread": threads_json(session, [thread])[0] if thread else None,
        "messages": messages.history(session, who, thread_id, limit=MESSAGES) if thread_id else None,
        "agents": [{"id": agent.id, "name": agent.name} for agent in agents.agents_of(session, who.user.tenant_id)],
        "user": {"id": who.user.id, "name": who.user.name, "role": who.user.role},
        "limits": {"text": PERSON_TEXT},
    }
