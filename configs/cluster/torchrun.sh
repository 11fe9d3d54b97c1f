#!/bin/bash
# One run on two nodes with four GPUs each, without a scheduler. On both nodes, in the checkout:
#     configs/cluster/torchrun.sh node1 run.yaml
# node1 is the name of either node, as both can reach it. More: docs/clusters.md

set -euo pipefail
HEAD="${1:?give the name of one of the nodes}"
RUN="${2:?give the config of the run}"
NODES=2
# One process for each GPU: torchrun starts them, Lightning only has to be told the same numbers.
GPUS=4

# Readers and fetcher talk through small files here: a local disk, never the shared one.
export TMPDIR="${TMPDIR:-/tmp}"

# --max-restarts=0: exit code 3 means that tiles failed, which is no reason to start all over at
# once. The same command again redoes what is missing.
exec torchrun \
    --nnodes="$NODES" --nproc-per-node="$GPUS" \
    --rdzv-backend=c10d --rdzv-endpoint="$HEAD:29500" --rdzv-id=thor-geo \
    --max-restarts=0 \
    -m thor_geo predict -c "$RUN" -c configs/trainer/ddp.yaml \
    --trainer.num_nodes="$NODES" \
    --trainer.devices="$GPUS" \
    --data.earthengine.credentials=service_account \
    --data.earthengine.service_account_file="${THOR_GEO_KEY:-$HOME/earthengine-key.json}"
