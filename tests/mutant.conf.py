"""gunicorn.conf.py with a mutant in every worker: see tests/mutants.py."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
exec(compile((ROOT / "gunicorn.conf.py").read_text(), "gunicorn.conf.py", "exec"))
as_shipped = globals().get("post_fork")


def post_fork(server, worker):
    if as_shipped:
        as_shipped(server, worker)
    sys.path.insert(0, str(ROOT))
    from tests.mutants import MUTANTS, wanted

    for name in wanted():
        MUTANTS[name]()
        worker.log.warning("this worker is a mutant: %s", name)
