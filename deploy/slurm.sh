#!/usr/bin/env bash
# Training on two nodes of eight Ascend devices. Parsed, and run with stand-ins for Slurm; never run on a cluster.
#
# Submit it from the workspace, which all nodes must see, after `make environment`, with device_target Ascend in
# params.yaml, the records (`dvc repro mindrecord@train mindrecord@val`), then device_num 16, which one node refuses:
#
#   sbatch deploy/slurm.sh
#
# Your cluster may call its devices otherwise than npu. The state of training is in ADL_STATE_DIR: a job that was
# preempted is queued again and goes on from there; so does the same command after the time limit, five minutes before
# which the job is told to save. When it is finished, `dvc repro` on any node restores the run.
#SBATCH --job-name=auto-deeplab
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gres=npu:8
#SBATCH --exclusive
#SBATCH --time=2-00:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.out
set -euo pipefail

cd "$SLURM_SUBMIT_DIR"
export ADL_STATE_DIR="${ADL_STATE_DIR:-$SLURM_SUBMIT_DIR/.adl/state}"
export PATH="$SLURM_SUBMIT_DIR/.venv/bin:$PATH"

# The first node's address: MindSpore asks for an address, not for a name.
mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
read -r address _ < <(getent ahostsv4 "${hosts[0]}") || { echo "no address of ${hosts[0]}" >&2; exit 1; }
export MASTER="$address:8118"

# One launcher a node, which starts the node's eight ranks. exec, so that Slurm's SIGTERM reaches it and it saves.
# shellcheck disable=SC2016  # each node's own variables
srun --kill-on-bad-exit=1 bash -c \
    'exec python -m pipeline.train --nodes "$SLURM_NNODES" --node-rank "$SLURM_NODEID" --master "$MASTER"'
