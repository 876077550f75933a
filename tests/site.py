"""The application's doors without a server: Flask's own client, a real store, and nothing in the background."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from argon2 import PasswordHasher
from werkzeug.test import TestResponse

from app import create_app
from chat import accounts
from chat.models import User
from chat.store import Store
from chat.tokens import webhook_secret
from config import Config

PASSWORD = "correct horse battery staple"
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
KEY = "a key that signs sessions in tests"


class Site:
    """Alice, Bob, Olga and Charlie have an API key each, and the same password."""

    def __init__(self, store: Store, people: SimpleNamespace, data_dir: Path, **settings: Any) -> None:
        self.store, self.people = store, people
        database = store.url
        self.app = create_app(
            Config(
                DATA_DIR=str(data_dir),
                DATABASE_URL=database,
                REDIS_URL="redis://127.0.0.1:1",
                SECRET_KEY=KEY,
                **{"ANSWERS_PER_MINUTE": 0, **settings},
            )
        )
        self.keys = store.write(self._admit)

    def _admit(self, session: Any) -> dict[str, str]:
        password_hash = QUICK.hash(PASSWORD)
        keys = {}
        for name in ("alice", "bob", "olga", "charlie"):
            user = session.get_one(User, getattr(self.people, name).user.id)
            user.password_hash = password_hash
            keys[name] = accounts.add_key(session, user, "test")
        return keys

    def call(self, who: str, method: str, path: str, body: Any = None, **more: Any) -> TestResponse:
        """A program of `who` calls, with an API key and without a cookie; "anonymous" has none."""
        headers = dict(more.pop("headers", {}))
        if who in self.keys:
            headers["Authorization"] = f"Bearer {self.keys[who]}"
        if body is not None:
            more["data"] = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.app.test_client().open(path, method=method, headers=headers, **more)

    def browser(self) -> Any:
        """A client that keeps its cookies."""
        return self.app.test_client()

    def signed_in(self, who: str = "alice") -> Any:
        browser = self.browser()
        answer = browser.post("/login", data={"name": f"{who}@example.com", "password": PASSWORD})
        assert answer.status_code == 303
        return browser

    def secret_of(self, agent: Any) -> str:
        """With what this agent signs its webhooks."""
        return webhook_secret(KEY, agent.id)
