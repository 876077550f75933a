"""Signing in and out, and who am I."""

from __future__ import annotations

import hmac
import logging

import msgspec
from flask import Blueprint, jsonify, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_user, logout_user

from blueprints.guards import SignedIn, Unauthorized, viewer
from blueprints.parts import hub, passwords, secret_key, settings, store
from blueprints.requests import json_body
from chat import accounts
from chat.accounts import Viewer
from chat.errors import ChatError

bp = Blueprint("sessions", __name__)
logger = logging.getLogger(__name__)

WRONG = "This name and password do not fit together."


class WrongPassword(ChatError):
    """Nobody has this name with this password; which of the two is wrong is not said."""

    status = 401


class Credentials(msgspec.Struct):
    name: str
    password: str


@bp.get("/login")
def login_form() -> ResponseReturnValue:
    if current_user.is_authenticated:
        return redirect(local_path(request.args.get("next")))
    return render_template("login.html", error=None, name="", next=local_path(request.args.get("next")))


@bp.post("/login")
def login() -> ResponseReturnValue:
    """Sign in by the form, or by JSON from a page whose session is over."""
    # JSON whatever Content-Type it names, as at every other door.
    if request.is_json or request.get_data().lstrip().startswith(b"{"):
        said = json_body(Credentials)
        sign_in(said.name, said.password)
        return jsonify(session_json(viewer()))
    name, next = request.form.get("name", ""), local_path(request.form.get("next"))
    try:
        sign_in(name, request.form.get("password", ""))
    except WrongPassword:
        return render_template("login.html", error=WRONG, name=name, next=next), 401
    return redirect(next, 303)


@bp.post("/logout")
def logout() -> ResponseReturnValue:
    if current_user.is_authenticated:
        sign_out(viewer())
    logout_user()
    if request.accept_mimetypes.best == "application/json":
        return "", 204
    return redirect(url_for("sessions.login_form"), 303)


@bp.get("/session")
def who_am_i() -> ResponseReturnValue:
    """Who am I, is my session alive: what a page asks when its stream has died without a reason."""
    if not current_user.is_authenticated:
        raise Unauthorized
    return jsonify(session_json(viewer()))


def sign_in(name: str, password: str) -> None:
    """Open a session. Raises WrongPassword."""
    password_hash = store().peek(lambda s: accounts.password_hash_of(s, name))
    if not passwords().apply(accounts.password_fits, (password_hash, password)):
        raise wrong_password(name)
    days = settings().SESSION_DAYS
    token = store().write(lambda s: accounts.sign_in(s, name, days))
    found = store().peek(lambda s: accounts.viewer_by_session(s, token))
    if found is None:  # deactivated between the two looks
        raise wrong_password(name)
    session.permanent = True  # it lasts SESSION_DAYS, also when the browser is closed meanwhile
    login_user(SignedIn(found, token))


def wrong_password(name: str) -> WrongPassword:
    """Log who failed as a mark that is the same for the same name: people type passwords where names belong."""
    mark = hmac.digest(secret_key().encode(), name.strip().lower().encode(errors="replace"), "sha256").hex()[:12]
    facts = {"name_mark": mark, "address": request.remote_addr}
    logger.warning("refused to sign in %s from %s", mark, request.remote_addr, extra={"facts": facts})
    return WrongPassword("wrong_password", WRONG.rstrip("."))


def sign_out(who: Viewer) -> None:
    """End the session and the streams it has open, on whatever worker."""
    kind, _, id = who.grant.partition(":")
    if kind == "session":
        store().write(lambda s: accounts.sign_out(s, id))
        hub().bus.kick(who.grant)


def session_json(who: Viewer) -> dict[str, dict[str, str]]:
    return {
        "user": {"id": who.user.id, "name": who.user.name, "role": who.user.role},
        "tenant": {"id": who.user.tenant.id, "name": who.user.tenant.name},
        "participant": {"id": who.participant_id},
    }


def local_path(target: str | None) -> str:
    """Where to go after signing in: a path of this site, whatever was asked for.

    Browsers take backslashes for slashes and drop tabs: `/\\evil.test` and `/<TAB>/evil.test` lead away.
    """
    target = target or ""
    is_local = target.startswith("/") and not target.startswith("//")
    return target if is_local and target.isprintable() and "\\" not in target else url_for("pages.home")
