"""Who may sign in: users, their sessions and API keys. A viewer is a user on whose behalf a request comes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from sqlalchemy import ColumnElement, Result, Select, bindparam, select, update
from sqlalchemy.orm import Session

from chat import log
from chat.errors import Conflict, Invalid, NotFound
from chat.ids import now_ms
from chat.models import ApiKey, Participant, SignIn, Tenant, User
from chat.text import check_name
from chat.tokens import hash_token, new_token

hasher = PasswordHasher()

# Verified when the name is unknown, so that this takes as long as a wrong password. Its password was thrown away.
NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$XZXlFKd2ci8CEmTt2sIdKw$ybPWJnWhR3ycV6Dbpmz95DzSBYdGeGaxi6G5lemL+y0"

ROLES = ("member", "operator", "admin")
OPERATORS = ROLES[1:]
DAY = 86_400_000  # milliseconds


@dataclass(frozen=True)
class Viewer:
    """Who is asking. `grant` names the session or key by which: a stream ends when its grant does."""

    user: User
    participant_id: str
    grant: str

    @property
    def operators_grant(self) -> str:
        """The grant to read what is not one's own: it ends with the role, too."""
        return f"{self.grant}:operator"

    @property
    def is_operator(self) -> bool:
        return self.user.role in OPERATORS


def add_tenant(session: Session, name: str) -> Tenant:
    """Make a tenant, or return the one of that name. Raises Invalid for a name that is none."""
    name = check_name(name, "a tenant")
    tenant = session.scalar(select(Tenant).where(Tenant.name == name)) or Tenant(name=name)
    session.add(tenant)
    session.flush()
    return tenant


def add_user(session: Session, tenant: Tenant, name: str, password_hash: str, role: str = "member") -> User:
    """Make a user and their participant. Raises Conflict if the name is taken, Invalid for an unknown role."""
    name = check_name(name, "a user").lower()
    if role not in ROLES:
        raise Invalid("role", f"the role must be one of {', '.join(ROLES)}", "role")
    if session.scalar(select(User.id).where(User.name == name)):
        raise Conflict("name_taken", f"there is a user {name} already", "name")
    user = User(tenant_id=tenant.id, name=name, password_hash=password_hash, role=role)
    session.add(user)
    session.flush()
    session.add(Participant(tenant_id=tenant.id, external_id=name, user_id=user.id, epoch=log.new_epoch()))
    session.flush()
    return user


def find_user(session: Session, name: str) -> User:
    """Find a user by name. Raises NotFound."""
    user = session.scalar(select(User).where(User.name == name.strip().lower()))
    if user is None:
        raise NotFound("unknown_user", f"there is no user {name}")
    return user


def add_key(session: Session, user: User, name: str) -> str:
    """Make an API key and return its token, which is told this once and kept only as a hash."""
    token = new_token("key")
    session.add(ApiKey(user_id=user.id, name=check_name(name, "a key"), token_hash=hash_token(token)))
    return token


def keys_of(session: Session, user: User) -> list[ApiKey]:
    """A user's API keys, oldest first, revoked ones too."""
    return list(session.scalars(select(ApiKey).where(ApiKey.user_id == user.id).order_by(ApiKey.id)))


def revoke_key(session: Session, key_id: str) -> None:
    """Let nobody in by this key any more; open streams end within seconds. Raises NotFound."""
    revoke = update(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
    if not session.execute(revoke.values(revoked_at=now_ms()).returning(ApiKey.id)).all():
        raise NotFound("unknown_key", f"there is no key {key_id} that could be revoked")


def password_hash_of(session: Session, name: str) -> str:
    """The hash to verify a password against; for an unknown or inactive name one that nothing matches."""
    query = select(User.password_hash).where(User.name == name.strip().lower(), User.active)
    return session.scalar(query) or NOBODY


def password_fits(password_hash: str, password: str) -> bool:
    """Verify a password: some 80 ms and 64 MiB of work, so call it off the event loop."""
    try:
        hasher.verify(password_hash, password)
    except (Argon2Error, InvalidHashError):
        return False
    return password_hash != NOBODY


def sign_in(session: Session, name: str, days: int) -> str:
    """Open a session and return its token. The password has been verified."""
    token = new_token("session")
    user = find_user(session, name)
    session.add(SignIn(user_id=user.id, token_hash=hash_token(token), expires_at=now_ms() + days * DAY))
    return token


def sign_out(session: Session, session_id: str) -> None:
    session.execute(update(SignIn).where(SignIn.id == session_id).values(revoked_at=now_ms()))


def viewer_by_session(session: Session, token: str) -> Viewer | None:
    """Who holds this session's token; None if it is unknown, over or revoked."""
    return viewer("session", session.execute(HOLDER_OF_SESSION, {"hash": hash_token(token), "now": now_ms()}))


def viewer_by_key(session: Session, token: str) -> Viewer | None:
    """Who holds this API key; None if it is unknown or revoked."""
    return viewer("key", session.execute(HOLDER_OF_KEY, {"hash": hash_token(token)}))


def viewer(kind: str, holders: Result[User, str, str]) -> Viewer | None:
    row = holders.first()
    return row and Viewer(row[0], row[1], f"{kind}:{row[2]}")


def holder(credential: type[SignIn] | type[ApiKey]) -> Select[User, str, str]:
    return (
        select(User, Participant.id, credential.id)
        .join(credential, credential.user_id == User.id)
        .join(Participant, Participant.user_id == User.id)
        .where(User.active, credential.token_hash == bindparam("hash"))
    )


# Every request asks one of these: built once, since building costs more than running (measured).
KEY_LIVES = (ApiKey.revoked_at.is_(None),)
SESSION_LIVES = (SignIn.revoked_at.is_(None), SignIn.expires_at > bindparam("now"))
HOLDER_OF_KEY = holder(ApiKey).where(*KEY_LIVES)
HOLDER_OF_SESSION = holder(SignIn).where(*SESSION_LIVES)


def admitted(session: Session, grants: Collection[str]) -> set[str]:
    """Which of these grants still hold: asked for all open streams at once, every tick."""
    roles = roles_of(session, SignIn, ids(grants, "session"), *SESSION_LIVES)
    roles |= roles_of(session, ApiKey, ids(grants, "key"), *KEY_LIVES)
    return {grant for grant in grants if holds(grant, roles.get(grant.split(":")[1]))}


def holds(grant: str, role: str | None) -> bool:
    return role in OPERATORS if grant.endswith(":operator") else role is not None


def ids(grants: Collection[str], kind: str) -> list[str]:
    return [grant.split(":")[1] for grant in grants if grant.startswith(f"{kind}:")]


def roles_of(
    session: Session, credential: type[SignIn] | type[ApiKey], ids: list[str], *conditions: ColumnElement[bool]
) -> dict[str, str]:
    """The role of each credential's user, by credential id; those that no longer hold are left out."""
    query = select(credential.id, User.role).join(User, credential.user_id == User.id)
    rows = session.execute(query.where(User.active, credential.id.in_(ids), *conditions), {"now": now_ms()})
    return {row.id: row.role for row in rows}
