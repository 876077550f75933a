"""A test may set up logging as a server does; afterwards it is as it was."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_logging() -> Iterator[None]:
    kept = logging.root.handlers[:], logging.root.level, logging.raiseExceptions, sys.excepthook
    try:
        yield
    finally:
        logging.captureWarnings(False)
        logging.root.handlers[:], logging.root.level, logging.raiseExceptions, sys.excepthook = kept
