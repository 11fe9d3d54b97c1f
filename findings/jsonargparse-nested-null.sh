#!/usr/bin/env bash
# jsonargparse: null for a member of a nested dataclass becomes the text "None", or is refused, if
# the class that has the dataclass is itself chosen by class_path (LightningCLI's subclass mode).
#
# Version: jsonargparse 4.53.0 with pyyaml. Of a class Data(group: Group | None), where Group has the
# fields name: str | None and count: int | None:
#
#   how Data is added             --data.group.name=null   --data.group.count=null
#   add_class_arguments           None                     None
#   add_subclass_arguments        'None' (a text)          refused: not of the union's types
#
# The same null in a YAML config, or as --data.group='{name: null}', is None in both. So a LightningCLI
# that resets an optional member on the command line runs with a value that nobody wrote.
#
# Needs Python 3.11 to 3.13: PYTHON=python3 by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
from dataclasses import dataclass

import jsonargparse


@dataclass(frozen=True, kw_only=True)
class Group:
    name: str | None = "x"
    count: int | None = 3


class Data:
    def __init__(self, group: Group | None = None):
        self.group = group


def parsed(subclass, member, argument):
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    if subclass:
        parser.add_subclass_arguments(Data, "data")
        arguments = ["--data=Data", argument]
    else:
        parser.add_class_arguments(Data, "data")
        arguments = [argument]
    try:
        config = parser.parse_args(arguments)
    except jsonargparse.ArgumentError:
        return "refused"
    return config["data.init_args.group" if subclass else "data.group"][member]


print("jsonargparse", jsonargparse.__version__)
seen = {}
for subclass in (False, True):
    for member in ("name", "count"):
        for argument in (f"--data.group.{member}=null", f"--data.group={{{member}: null}}"):
            seen[subclass, argument] = value = parsed(subclass, member, argument)
            print(f"  {'subclass' if subclass else 'class'}, {argument}: {value!r}")
surprising = {
    (True, "--data.group.name=null"): "None",
    (True, "--data.group.count=null"): "refused",
}
assert seen == {key: surprising.get(key) for key in seen}, seen
PY
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "jsonargparse[signatures]==4.53.0" "PyYAML==6.0.3"
"$folder/venv/bin/python" "$folder/check.py"
echo "as described"
