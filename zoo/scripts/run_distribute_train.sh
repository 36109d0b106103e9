#!/usr/bin/env bash
# usage: bash scripts/run_distribute_train.sh RANK_SIZE RANK_TABLE_FILE DATASET_PATH EPOCHS
# Trains on several Ascend devices, which a rank table names. DATASET_PATH holds leftImg8bit/ and gtFine/.
[ $# = 4 ] || { sed -n 's/^# //p' "$0" >&2; exit 2; }
exec python "$(dirname "$0")/../train.py" --rank_table_file="$2" --data_path="$3" --epochs="$4" --device_num="$1" \
    --device_target=Ascend
