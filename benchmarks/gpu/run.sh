#!/usr/bin/env bash
# GPU acceptance on a machine without network: random models of the presets' sizes, every preset with every engine.
#
#   benchmarks/gpu/run.sh [OUT_DIR]        (default benchmarks/results)
#
# SITE=FOLDER      the unpacked bundle, put on PYTHONPATH when it is there (default: site/ of the temporary folder)
# PYTHON=python3   DEVICE=cuda|cpu   SIZES=full|tiny   STEPS=3   BUDGET_S=570
# COMMIT=...       what is tested, where the copy is no git checkout
# PRESETS="gemma27b ..."   ENGINES="unsloth transformers"   WORK=FOLDER (about 20 GB for the models)
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$(realpath -m "${1:-$root/benchmarks/results}")
temporary=${TMPDIR:-/tmp}
export SITE=${SITE:-$temporary/site} WORK=${WORK:-$temporary/onegrpo-gpu}
export DEVICE=${DEVICE:-cuda} SIZES=${SIZES:-full}
path=$root
if [ -d "$SITE" ]; then path=$SITE:$path; fi
export PYTHONPATH=$path${PYTHONPATH:+:$PYTHONPATH}
# Nothing may wait for a network that is not there, and Unsloth may not write beside the sources.
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TRANSFORMERS_OFFLINE=1 WANDB_MODE=disabled
export UNSLOTH_DISABLE_STATISTICS=1 UNSLOTH_COMPILE_LOCATION=$WORK/unsloth_compiled
export ONEGRPO_CACHE=$WORK/cache HF_HOME=$WORK/hf
mkdir -p "$WORK" "$out"
cd "$root"
exec "${PYTHON:-python3}" benchmarks/gpu/accept.py "$out"
