#!/usr/bin/env bash
# usage: bash scripts/run_train.sh DEVICE_ID DATASET_PATH EPOCHS
# Trains on one device. DATASET_PATH holds leftImg8bit/ and gtFine/.
[ $# = 3 ] || { sed -n 's/^# //p' "$0" >&2; exit 2; }
zoo=$(dirname "$0")/..
echo "The 2021 run_train.sh also set batch_size 8, affine False, parallel False. Here params.yaml decides:"
grep -E '^(batch_size|affine|parallel):' "$zoo/../params.yaml"
exec python "$zoo/train.py" --device_id="$1" --data_path="$2" --epochs="$3" --device_num=1
