"""Prints where each lock was made that more than one native thread has taken while a store was at work; run by itself.

gevent's locks, which `threading` gives out here, are not for several native threads (chat/sqlite.py).
"""

from gevent import monkey

monkey.patch_all()

import logging
import sys
import threading
import traceback
from contextlib import suppress
from typing import Any

import gevent

native_thread = monkey.get_original("_thread", "get_ident")
made: list[Any] = []


def tracked(real: Any) -> type:
    class Tracked:
        def __init__(self) -> None:
            self.lock, self.threads = real(), set()
            self.place = "".join(traceback.format_list(traceback.extract_stack()[-4:-1]))
            made.append(self)

        def acquire(self, *how: Any, **more: Any) -> bool:
            self.threads.add(native_thread())
            return self.lock.acquire(*how, **more)

        def __enter__(self) -> bool:
            return self.acquire()

        def __exit__(self, *_: object) -> None:
            self.lock.release()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.lock, name)

    return Tracked


threading.Lock, threading.RLock = tracked(threading.Lock), tracked(threading.RLock)  # type: ignore[misc, assignment]
logging._lock = threading.RLock()  # type: ignore[attr-defined]  # made before us

import logs
from chat import accounts, agents, log, messages, threads
from chat.accounts import Viewer
from chat.models import Participant
from chat.store import Store


def people(session: Any) -> Viewer:
    tenant = accounts.add_tenant(session, "Acme")
    user = accounts.add_user(session, tenant, "alice@example.com", "no password", "member")
    agents.add_agent(session, tenant, "echo", "http://192.0.2.1/")
    return Viewer(user, session.query(Participant).one().id, "key:1")


def work(url: str) -> None:
    logs.set_up("text")
    store = Store(url)
    alice = store.write(people)
    name = alice.participant_id
    thread = store.write(lambda s: threads.create(s, alice, "echo", None))["id"]

    def write() -> None:
        for number in range(10):
            store.write(lambda s, number=number: messages.say(s, alice, thread, f"word {number}"))

    def read() -> None:
        for _ in range(10):
            store.read(lambda s: messages.history(s, alice, thread))
            store.read(lambda s: log.after(s, name, 0, 100))
            store.peek(lambda s: (log.heads(s, [name]), threads.fetch(s, alice, thread)))
            store.peek(lambda s: accounts.viewer_by_key(s, "no key"))

    def fail(session: Any) -> None:
        logging.getLogger("sqlalchemy.engine").warning("a thread of SQLite's says something")
        raise LookupError

    for way in (store.write, store.read):
        with suppress(LookupError):
            way(fail)

    gevent.joinall([gevent.spawn(each) for each in (write, read, read)], raise_error=True)
    store.close()


work(sys.argv[1])
shared = [lock.place for lock in made if len(lock.threads) > 1]
print(f"{len(set().union(*(lock.threads for lock in made)))} threads, {len(shared)} locks shared")
print("\n".join(shared))
