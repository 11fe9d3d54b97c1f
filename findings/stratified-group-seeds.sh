#!/usr/bin/env bash
# scikit-learn: StratifiedGroupKFold(shuffle=True) gives one division whatever its seed.
#
# Versions: scikit-learn 1.9.1, numpy 2.4.6; wheels from the package index.
# Input: 16 groups of 16 samples and 60 of 5 to 40, classes as uneven as blocks of ground have them.
#
# Groups are dealt in the order of how uneven their classes are, and shuffled before that order is
# made: the seed decides among groups that are equally uneven, and real groups are not. So 100 seeds
# give 2 divisions of 16 groups, and 43 of 60 groups; 85 and 46 % of the pairs of groups that one
# seed tests together stay together with the next. Scores repeated over seeds have a spread near 0.
# GroupKFold(shuffle=True) gives 100 divisions each, and 16 to 20 % stay, as by chance.
# A note in the documentation of the class says that there is no global shuffle.
#
# Needs Python 3.11 or newer: PYTHON=python3.11 by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
import numpy as np
import sklearn
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

print(f"scikit-learn {sklearn.__version__}, numpy {np.__version__}")
SEEDS = 100


def divisions(kind, classes, groups):
    """Return the number of divisions, and the share of pairs that stay together."""
    found, together = set(), []
    for seed in range(SEEDS):
        splitter = kind(n_splits=5, shuffle=True, random_state=seed)
        fold = np.empty(len(classes), int)
        for k, (_, test) in enumerate(splitter.split(classes, classes, groups)):
            fold[test] = k
        numbers = fold[np.unique(groups, return_index=True)[1]]
        pairs = (numbers[:, None] == numbers)[np.triu_indices(len(numbers), 1)]
        found.add(pairs.tobytes())
        together.append(pairs)
    together = np.array(together, float)
    stay = [(a * b).sum() / a.sum() for a, b in zip(together, together[1:])]
    return len(found), float(np.mean(stay))


def drawn(sizes, seed):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    # Each group has a mixture of three classes of its own.
    shares = rng.dirichlet([0.7, 0.7, 0.7], len(sizes))
    classes = np.array([rng.choice(3, p=shares[g]) for g in groups])
    return classes, groups


for name, sizes in (
    ("16 groups of 16", np.full(16, 16)),
    ("60 groups of 5 to 40", np.random.default_rng(0).integers(5, 41, 60)),
):
    classes, groups = drawn(sizes, 1)
    for kind in (StratifiedGroupKFold, GroupKFold):
        count, stay = divisions(kind, classes, groups)
        print(f"  {name}, {kind.__name__}: {count} divisions, {stay:.0%} of pairs stay together")
        if kind is GroupKFold:
            assert count == SEEDS
            assert stay < 0.3
        else:
            assert count < SEEDS / 2
            assert stay > 0.4
PY
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check scikit-learn==1.9.1 numpy==2.4.6
"$folder/env/bin/python" "$folder/check.py"
echo "as described"
