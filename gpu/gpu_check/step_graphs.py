"""`python -m gpu_check.step_graphs`: write a bundle's graphs for greedy steps beside it.

They are `build_step_graph`'s, which the program does not load yet.
"""

from __future__ import annotations

import argparse
import json
import sys

from sllm_export.variants import build_step_graph

from gpu_check.sessions import arguments


def main() -> int:
    """Write the graphs that `--graph` names."""
    parser = argparse.ArgumentParser(prog="gpu_check.step_graphs")
    parser.add_argument("--graph", action="append", required=True)
    subject, given = arguments(parser)
    for graph in given.graph:
        builder = build_step_graph(subject.config, subject.weights(), subject.variant, graph)
        builder.save(subject.step_path(graph))
    print(json.dumps({"graphs": given.graph}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
