"""What holds for all tests."""

from __future__ import annotations

import signal

# A shell ignores SIGINT in what it starts in the background, and Python then installs no handler:
# the tests that interrupt would wait for ever. Processes that tests start inherit this.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):  # likewise what nohup starts
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
