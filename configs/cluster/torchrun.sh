#!/bin/bash
# One run on two nodes with four GPUs each, without a scheduler. On both nodes, from any folder:
#     configs/cluster/torchrun.sh node1 run.yaml
# node1 is the name of either node, as both can reach it. What follows the config is passed on to
# thor-geo. Other numbers, or CPUs:
#     NODES=3 DEVICES=2 configs/cluster/torchrun.sh node1 run.yaml -c configs/trainer/ddp_cpu.yaml
# More: docs/clusters.md

set -euo pipefail
HEAD="${1:?give the name of one of the nodes}"
RUN="${2:?give the config of the run}"
NODES="${NODES:-2}"
# One process for each GPU: torchrun starts them, Lightning only has to be told the same numbers.
DEVICES="${DEVICES:-4}"
# Where the nodes meet; launches at the same time need one each. The ranks' own port is a free one.
PORT="${PORT:-29500}"

# Readers and fetcher talk through small files here: a local disk, never the shared one.
export TMPDIR="${TMPDIR:-/tmp}"
# Nobody is there to log in to Earth Engine: the key of a service account that may use the project.
LOGIN=()
if sed 's/#.*//' "$RUN" | grep -q 'earthengine:'; then
    LOGIN=(--data.earthengine.credentials=service_account
        --data.earthengine.service_account_file="${THOR_GEO_KEY:-$HOME/earthengine-key.json}")
fi

# --max-restarts=0: exit code 3 means that tiles failed, which is no reason to start all over at
# once. The same command again redoes what is missing. The trainer's keys are those of
# configs/trainer/ddp.yaml.
exec torchrun \
    --nnodes="$NODES" --nproc-per-node="$DEVICES" \
    --rdzv-backend=c10d --rdzv-endpoint="$HEAD:$PORT" --rdzv-id=thor-geo \
    --max-restarts=0 \
    -m thor_geo predict -c "$RUN" \
    --trainer.accelerator=gpu \
    --trainer.strategy=ddp \
    --trainer.precision=bf16-mixed \
    "${LOGIN[@]}" \
    "${@:3}" \
    --trainer.num_nodes="$NODES" \
    --trainer.devices="$DEVICES"
