#!/usr/bin/env bash
# Lightning under SLURM: one task with devices=2 predicts half of the samples, and says nothing.
#
# Versions: lightning 2.6.6 with torch 2.15.0. Trainer(devices=..., strategy=...).predict() over four
# samples, with the variables that srun gives its first task. Seen, exit code 0 and no warning:
#
#   SLURM_NTASKS   devices, strategy   ranks   samples predicted by this process
#   (unset)        2, ddp              2       2: the second process has the others
#   1              2, ddp              1       2: nobody predicts the others
#   2              1, auto             1       4: and so does the second task
#
# The number of processes comes from SLURM_NTASKS, the sampler's number of replicas from devices.
# Lightning compares devices with SLURM_NTASKS_PER_NODE alone, which --ntasks=1 leaves unset, and
# compares nothing where one device needs no launcher.
#
# Needs Python 3.11 to 3.13, and 6 GB: PYTHON=python3 by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
import logging
import sys
import warnings

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

logging.getLogger("lightning").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", ".*does not have many workers")
warnings.filterwarnings("ignore", ".*is not used. HINT")  # srun is installed on some machines


class Module(LightningModule):
    samples = 0

    def predict_step(self, batch, index):
        self.samples += len(batch)


if __name__ == "__main__":
    devices, strategy, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    module = Module()
    trainer = Trainer(
        accelerator="cpu",
        devices=devices,
        strategy=strategy,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        trainer.predict(module, DataLoader(torch.zeros(4, 1)), return_predictions=False)
    about = [str(w.message) for w in said if "task" in str(w.message).lower()]
    if trainer.global_rank == 0:
        with open(out, "w") as file:
            print(trainer.world_size, module.samples, len(about), file=file)
PY
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check lightning==2.6.6 torch==2.15.0
while IFS= read -r name; do unset "$name"; done < <(env | sed -n 's/^\(SLURM_[A-Z_]*\)=.*/\1/p')
task=(SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 SLURM_NNODES=1)
check() { # what must be seen, devices, strategy, variables
    local wanted=$1 devices=$2 strategy=$3
    shift 3
    env "$@" "$folder/venv/bin/python" "$folder/check.py" "$devices" "$strategy" "$folder/seen" 2>"$folder/log" ||
        { cat "$folder/log"; exit 1; }
    seen=$(cat "$folder/seen")
    echo "  ${1}, devices=$devices: ranks, samples, warnings: $seen"
    [ "$seen" = "$wanted" ] || { echo "was: $wanted"; exit 1; }
}
check "2 2 0" 2 ddp PLAIN=1
check "1 2 0" 2 ddp SLURM_NTASKS=1 "${task[@]}"
check "1 4 0" 1 auto SLURM_NTASKS=2 SLURM_NTASKS_PER_NODE=2 "${task[@]}"
echo "as described"
