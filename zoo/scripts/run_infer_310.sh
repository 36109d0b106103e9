#!/usr/bin/env bash
# usage: bash run_infer_310.sh MINDIR_PATH DATASET_PATH DEVICE_ID
# Runs an exported file on the val images, with MindSpore Lite where it is installed; writes to ./inferred.
[ $# = 3 ] || { sed -n 's/^# //p' "$0" >&2; exit 2; }
root=$(dirname "$0")/../..
paths=(--model "$(realpath -ms "$1")" --data-path "$(realpath -ms "$2")" --output "$PWD/inferred")
if python -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("mindspore_lite"))'; then
    echo "run by MindSpore Lite"
    lite=(--backend lite)
else
    echo "run by MindSpore, because MindSpore Lite is not installed"
fi
cd "$root" || exit
exec python -m pipeline.infer "${paths[@]}" --device-id "$3" "${lite[@]}"
