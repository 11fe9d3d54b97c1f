"""A SLURM of three nodes on one machine, and nothing of it left behind.

Each node is a `slurmd` with a network, a host name, a /tmp and control groups of its own. The
daemons' files lie in one folder; ports, addresses and names are not those of a SLURM that the
machine may belong to.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NODES = ("thor1", "thor2", "thor3")
_BRIDGE = "thorgeo0"
_NETWORK = "10.77.0"
# Controllers of the first version of control groups that the plugins below use.
_CONTROLLERS = ("freezer", "memory", "cpuset", "devices")
_CGROUPS = Path("/sys/fs/cgroup")
_PATIENCE_S = 60.0

_CONFIG = """ClusterName=thorgeo
SlurmctldHost={host}({network}.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={base}/munge.socket,cred_expire=10
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool/%n
SlurmctldPidFile={base}/slurmctld.pid
SlurmdPidFile={base}/%n.pid
SlurmctldLogFile={base}/slurmctld.log
SlurmdLogFile={base}/%n.log
SlurmctldPort=26817
SlurmdPort=26818
ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=20
MessageTimeout=30
MinJobAge=7200
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=thor[1-3] NodeAddr={network}.[11-13] CPUs=8 RealMemory=20000
PartitionName=plain Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE GraceTime=0 Default=YES
PartitionName=grace Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE GraceTime=60
PartitionName=first Nodes=ALL PriorityTier=10 PreemptMode=OFF
"""

_CGROUP_CONFIG = """CgroupPlugin=cgroup/v1
CgroupAutomount=no
ConstrainRAMSpace=yes
ConstrainSwapSpace=no
"""

# What a node does before it becomes its slurmd: its own name, names of the others, an own /tmp as a
# local disk, and control groups that begin at this node.
_NODE = """set -e
hostname {name}
mount --make-rprivate /
mount --bind {base}/hosts /etc/hosts
mount --bind {base}/tmp/{name} /tmp
for c in {controllers}; do umount {cgroups}/$c; mount -t cgroup -o $c none {cgroups}/$c; done
exec slurmd -D -f {base}/slurm.conf
"""


class Cluster:
    """The daemons; use it as a context manager.

    Attributes:
        base: Folder of all files, which every node sees.
    """

    def __init__(self) -> None:
        """Initialize a new Cluster instance; nothing is started yet.

        Raises:
            RuntimeError: If this user, machine or release of SLURM cannot do it.
        """
        missing = [n for n in ("slurmctld", "slurmd", "munged", "ip") if shutil.which(n) is None]
        if os.geteuid() or missing:
            raise RuntimeError(
                f"This needs root{' and ' + ', '.join(missing) if missing else ''}: on Debian, "
                "apt-get install slurm-wlm munge iproute2."
            )
        for controller in _CONTROLLERS:
            if not (_CGROUPS / controller).is_dir():
                raise RuntimeError(f"This needs control groups v1, with {controller}.")
        # /tmp is each node's own.
        self.base = Path(tempfile.mkdtemp(prefix="thor-geo-slurm-", dir="/var/tmp"))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def environment(self) -> dict[str, str]:
        """Variables of SLURM's commands and of jobs that are submitted."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**os.environ, "SLURM_CONF": str(self.base / "slurm.conf"), "PATH": path}

    def __enter__(self) -> Cluster:
        """Start everything, and wait until all nodes are idle."""
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the daemons by their process ids, and take away networks and control groups."""
        for name in reversed(self._processes):
            self._end(name)
        for name in NODES:
            self._kill_all(name)
            # The link by itself: with its namespace, it goes some time after the command.
            _remove("link", f"{name}v")
            _remove("netns", name)
        _remove("link", _BRIDGE)
        for controller in _CONTROLLERS:
            for name in NODES:
                groups = [*(_CGROUPS / controller / name).rglob("*/"), _CGROUPS / controller / name]
                for group in sorted(groups, key=lambda path: -len(path.parts)):
                    if group.is_dir():
                        group.rmdir()
        shutil.rmtree(self.base)

    def run(self, *command: str, check: bool = True) -> str:
        """Run one of SLURM's commands; return what it prints."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr or done.stdout}")
        return done.stdout.strip()

    def lose(self, name: str) -> None:
        """Take a node away as a power failure does: its network, its daemon and all processes."""
        subprocess.run(["ip", "link", "set", f"{name}v", "down"], check=True)
        self._processes.pop(name).kill()
        self._kill_all(name)

    def restore(self, name: str) -> None:
        """Start a lost node again."""
        subprocess.run(["ip", "link", "set", f"{name}v", "up"], check=True)
        self._start_node(name)
        self._wait_for_nodes()

    def _start(self) -> None:
        for folder in ("state", *(f"{kind}/{name}" for kind in ("spool", "tmp") for name in NODES)):
            (self.base / folder).mkdir(parents=True, mode=0o755)
        self.base.chmod(0o755)
        config = _CONFIG.format(host=socket.gethostname(), network=_NETWORK, base=self.base)
        (self.base / "slurm.conf").write_text(config)
        (self.base / "cgroup.conf").write_text(_CGROUP_CONFIG)
        hosts = [f"{_NETWORK}.{k + 11} {name}" for k, name in enumerate(NODES)]
        text = "\n".join(["127.0.0.1 localhost", f"{_NETWORK}.1 {socket.gethostname()}", *hosts])
        (self.base / "hosts").write_text(text + "\n")
        key = self.base / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        self._start_network()
        options = ("socket", "log-file", "pid-file", "seed-file")
        files = [f"--{name}={self.base}/munge.{name.removesuffix('-file')}" for name in options]
        self._launch("munged", ["munged", "--foreground", "--force", f"--key-file={key}", *files])
        _wait(lambda: (self.base / "munge.socket").exists(), "munged")
        command = ["slurmctld", "-D", "-f", str(self.base / "slurm.conf")]
        self._launch("slurmctld", command)
        for name in NODES:
            self._start_node(name)
        self._wait_for_nodes()

    def _start_network(self) -> None:
        commands = [
            f"link add {_BRIDGE} type bridge",
            f"addr add {_NETWORK}.1/24 dev {_BRIDGE}",
            f"link set {_BRIDGE} up",
        ]
        for k, name in enumerate(NODES):
            commands += [
                f"netns add {name}",
                f"link add {name}v type veth peer name eth0 netns {name}",
                f"link set {name}v master {_BRIDGE} up",
                f"-n {name} addr add {_NETWORK}.{k + 11}/24 dev eth0",
                f"-n {name} link set eth0 up",
                f"-n {name} link set lo up",
            ]
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True)

    def _start_node(self, name: str) -> None:
        for controller in _CONTROLLERS:
            group = _CGROUPS / controller / name
            group.mkdir(exist_ok=True)
            if controller == "cpuset":  # empty at first, and then no process may join
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (group / file).write_text((group.parent / file).read_text())
        script = _NODE.format(
            name=name, base=self.base, controllers=" ".join(_CONTROLLERS), cgroups=_CGROUPS
        )
        join = "".join(f"echo $$ > {_CGROUPS}/{c}/{name}/cgroup.procs; " for c in _CONTROLLERS)
        enter = f"nsenter --net=/run/netns/{name} unshare --uts --mount --cgroup bash -c"
        command = f'{join} exec {enter} "$1"'
        self._launch(name, ["bash", "-c", command, "node", script])

    def _launch(self, name: str, command: list[str]) -> None:
        with (self.base / f"{name}.out").open("ab") as out:
            self._processes[name] = subprocess.Popen(
                command, env=self.environment, stdout=out, stderr=out, start_new_session=True
            )

    def _end(self, name: str) -> None:
        process = self._processes[name]
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _kill_all(self, name: str) -> None:
        """Kill what runs on a node."""
        group = _CGROUPS / "freezer" / name
        for _ in range(50):
            pids = [
                int(pid) for file in group.rglob("cgroup.procs") for pid in file.read_text().split()
            ]
            if not pids:
                return
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.1)

    def _wait_for_nodes(self) -> None:
        count = len(NODES)
        _wait(
            lambda: (
                self.run("sinfo", "-hN", "-p", "plain", "-o", "%t", check=False).split()
                == ["idle"] * count
            ),
            "nodes",
        )


def _remove(kind: str, name: str) -> None:
    subprocess.run(["ip", kind, "del", name], check=False, stderr=subprocess.DEVNULL)


def _wait(condition: object, what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise RuntimeError(f"The {what} did not come up within {_PATIENCE_S:.0f} s.")
        time.sleep(0.5)
