"""Entry point of `python -m sllm_train`; `python -m sllm_export train` is the same."""

import sys

from sllm_export.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
