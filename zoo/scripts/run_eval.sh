#!/usr/bin/env bash
# usage: bash scripts/run_eval.sh DATASET_PATH CKPT_FILE OUTPUT_PATH
# Scores a checkpoint on the val images. DATASET_PATH holds leftImg8bit/ and gtFine/.
[ $# = 3 ] || { sed -n 's/^# //p' "$0" >&2; exit 2; }
exec python "$(dirname "$0")/../eval.py" --data_path="$1" --ckpt_name="$2" --output="$3"
