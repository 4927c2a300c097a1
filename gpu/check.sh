#!/usr/bin/env bash
# Check and measure sllm-ort on this machine's GPU; writes one JSON. See docs/gpu.md.
#   bash gpu/check.sh [--provider cuda|cpu] [--out FILE] [--seconds N]
set -eu
pack=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$pack/gpu:$pack/export" PYTHONDONTWRITEBYTECODE=1
exec "${PYTHON:-python3}" -m gpu_check --pack "$pack" "$@"
