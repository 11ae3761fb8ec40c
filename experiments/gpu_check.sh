#!/usr/bin/env bash
# Tests and benchmarks on this machine's accelerator, within ten minutes, into one JSON file.
#
#     experiments/gpu_check.sh [OUT.json] [--dry-run]
#
# Exit status 0: all passed; 1: something did not, see the file; 2: nothing was run, because jax sees
# no accelerator. With --dry-run a CPU takes its place, and all sizes are the smallest. Python is
# $PYTHON, or `python`; it needs jaxad with the extras dev and cuda12 or cuda13.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python}
command -v "$python" >/dev/null || { echo "there is no $python: set PYTHON" >&2; exit 2; }
exec "$python" "$here/gpu_check.py" "$@"
