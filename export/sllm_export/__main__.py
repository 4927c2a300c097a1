"""Entry point of `python -m sllm_export`."""

import signal
import sys

from sllm_export.cli import main

if __name__ == "__main__":
    # A bundle that is cut short by a signal is cleaned up like one cut short by Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
