"""Who may pass a door, and from where. A guard runs before every view of the blueprint it stands beside."""

from __future__ import annotations

from flask import redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, UserMixin, current_user

import logs
from blueprints.parts import hub, store
from chat import accounts
from chat.accounts import Viewer
from chat.errors import ChatError
from realtime.peer import has_closed

login_manager = LoginManager()
login_manager.session_protection = None  # a session is bound to its row, not to an address that changes on the way home

SAFE = ("GET", "HEAD", "OPTIONS")


class Unauthorized(ChatError):
    """Nobody is signed in."""

    status = 401

    def __init__(self) -> None:
        super().__init__("unauthorized", "sign in, or send an API key as Authorization: Bearer <key>")


class CrossSite(ChatError):
    """The request was made by another site's page."""

    status = 403


class SignedIn(UserMixin):
    """What Flask-Login keeps of a request: the viewer, and the session's token if there is one."""

    def __init__(self, viewer: Viewer, token: str = "") -> None:
        self.viewer, self.token = viewer, token

    def get_id(self) -> str:
        return self.token


@login_manager.user_loader
def load_by_session(token: str) -> SignedIn | None:
    found = store().peek(lambda s: accounts.viewer_by_session(s, token))
    return SignedIn(known(found), token) if found else None


@login_manager.request_loader
def load_by_key(_request: object) -> SignedIn | None:
    token = bearer_token()
    found = token and store().peek(lambda s: accounts.viewer_by_key(s, token))
    return SignedIn(known(found)) if found else None


def known(viewer: Viewer) -> Viewer:
    logs.about(tenant=viewer.user.tenant_id)
    return viewer


def bearer_token() -> str | None:
    """The token of `Authorization: Bearer`; never one from the URL, which ends in logs and Referer headers."""
    authorization = request.authorization
    return authorization.token if authorization and authorization.type == "bearer" else None


def viewer() -> Viewer:
    """Who is asking. Only behind a guard that signs in."""
    return current_user.viewer  # type: ignore[no-any-return]


def everyone() -> None:
    """An open door: it shows nothing of anybody, or checks credentials of its own."""


def same_site() -> None:
    """An open door; only what changes something must come from this site's own pages, or from a program."""
    if request.method not in SAFE:
        refuse_cross_site()


def signed_in() -> None:
    """JSON doors and streams. A refusal is never a redirect: an EventSource would die of it without a reason."""
    if "_user_id" in session:
        refuse_cross_site()
    if not current_user.is_authenticated:
        raise Unauthorized


def signed_in_by_turns() -> ResponseReturnValue | None:
    """Streams: as other JSON doors, but a crowd that comes back does not come before everybody else.

    Those of it who have given up meanwhile are not let in at all: each would take the turn of one who waits.
    """
    hub().wait_turn()
    sock = request.environ.get("gunicorn.socket")
    if sock is not None and has_closed(sock):
        return "", 204  # nobody reads it
    signed_in()
    return None


def signed_in_or_sent_to_login() -> ResponseReturnValue | None:
    """Pages."""
    if current_user.is_authenticated:
        return None
    return redirect(url_for("sessions.login_form", next=request.full_path.rstrip("?")))


def refuse_cross_site() -> None:
    """Refuse what another site's page makes a browser send: by Sec-Fetch-Site, else by Origin (OWASP, CSRF).

    Browsers leave Sec-Fetch-Site out over plain http to a name that is not loopback.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        foreign = site not in ("same-origin", "none")
    elif origin is not None:
        foreign = origin not in (f"http://{request.host}", f"https://{request.host}")
    else:
        foreign = request.method not in SAFE and bool(request.cookies)
    if foreign:
        raise CrossSite("cross_site", "this request must come from this site's own pages")
