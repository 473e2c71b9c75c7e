# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every example of the modules' documentation runs, in the order in which it stands there."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest
import verbs
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from harness import Ansible, Backend
from yaml import safe_load

# What the documentation says, and what stands for it on a pool of 2 GiB, without Jinja and without mkfs
HERE = {
    "refreservation: 8G": "refreservation: 64M",
    "[fsfreeze, --freeze, /srv/vm]": "[test, -b, /dev/zvol/tank/vm]",
    "host: archive-1\n        parent: archive/site-a": "host: local\n        parent: backup/site-a",
    "[fsfreeze, --unfreeze, /srv/vm]": "[test, -b, /dev/zvol/tank/vm]",
}
ID = "3f1c9a0b7d5e2468"
MARK = json.dumps({"id": ID, "host": "a", "dataset": "tank/vol", "guid": "1", "mode": "plain"})
RIGHTS = "create,mount,receive,hold,release,userprop,readonly,canmount,destroy"


def by_hand(host: str) -> str:
    """Shell that marks the source, and leaves in $mark what goes on the replica: a relationship whose id is known."""
    there = json.dumps([{"id": ID, "target": f"{host}backup/vol", "guid": "0", "mode": "plain"}])
    here = json.dumps({"id": ID, "host": "backend-a", "dataset": "tank/vol", "guid": "%s"})
    return (
        f"zfs set 'cerss.zfs:replica.00000000000000ff={there}' tank/vol"
        f"; mark=$(printf '{here}' $(zfs get -Hp -o value guid tank/vol))"
    )


LOCALLY = f'{by_hand("")}; zfs set "cerss.zfs:source=$mark" backup/vol'
REMOTELY = f"{by_hand('backend-b:')}; ssh backend-b \"zfs set 'cerss.zfs:source=$mark' backup/vol\""

# Module -> example -> the shell's part: how the world looks before it. "" stands for the first of all.
WORLD: dict[str, dict[str, str]] = {
    "zfs_dataset": {
        "Unmount a filesystem": "zfs create tank/db",
        "Load the key of an encrypted filesystem and mount it": "for n in tank/secret tank/secret/mail; do"
        " echo correct horse battery staple | zfs create -o encryption=on -o keyformat=passphrase -o pbkdf2iters=100000"
        " $n; done; zfs unmount tank/secret; zfs unload-key -r tank/secret",
        "Remove a filesystem unless something depends on it": "zfs create tank/old",
        "Remove a tree with all its datasets and snapshots, and the clones of these": "zfs create -p tank/ci/run"
        "; zfs snapshot -r tank/ci@s; zfs clone tank/ci/run@s tank/copy; zfs snapshot tank/copy@own",
    },
    "zfs_service": {"": "zfs create tank/db"},
    "zfs_allow": {
        "": "zfs create tank/db; zfs create backup/site-a; id cerss-zfs > /dev/null 2>&1 || useradd --system cerss-zfs"
        "; getent group dba > /dev/null || groupadd dba"
    },
    "zfs_snapshot": {
        "": "for n in vol db db/data db/log scratch; do zfs create tank/$n; done; zfs create -V 64M tank/vm"
        "; zfs set org.example:backup=nightly tank/db tank/scratch; udevadm settle",
        "Snapshot a whole tree, unless its newest hourly snapshot is younger than 50 minutes": (
            "while [ $(date +%-S) -gt 30 ]; do sleep 1; done"  # so that both runs are in one minute
        ),
        "Keep the state of a replica before it is rolled back to what the source has": (
            f"zfs create -u backup/vol; zfs set cerss.zfs:source='{MARK}' backup/vol"
        ),
        "Delete a snapshot only if nothing needs it": "zfs snapshot tank/vol@golden",
        "Delete a snapshot and all its clones": "zfs snapshot tank/vol@golden; zfs clone tank/vol@golden tank/c",
    },
    "zfs_snapshot_info": {
        "": "zfs create tank/vol; zfs snapshot -o org.example:ticket=1 tank/vol@daily-1; zfs snapshot tank/vol@monday"
        "; zfs set org.example:backup=nightly tank/vol"
    },
    "zfs_dataset_info": {"": "zfs create tank/db; zfs create tank/scratch"},
    "zfs_pool_info": {},
    "zfs_clone": {
        "": "zfs create tank/db; zfs snapshot tank/db@nightly; zfs create -p tank/images/debian"
        "; zfs snapshot tank/images/debian@v12; zfs create -p backup/tank/db; zfs snapshot backup/tank/db@nightly"
        "; zfs snapshot backup/tank/db@cutover",
        "Remove a clone with its snapshots and their clones": "zfs clone tank/db-repaired@nightly tank/db-test"
        "; zfs snapshot tank/db-test@own; zfs clone tank/db-test@own tank/deep",
    },
    "zfs_rollback": {
        "": "zfs create tank/db; zfs snapshot tank/db@before-upgrade; echo new > /tank/db/file; zpool sync",
        "Roll back over two later snapshots and no others": "for n in monday tuesday wednesday; do"
        " echo $n > /tank/db/file; zfs snapshot tank/db@$n; done",
        "Roll back over any automatic snapshots": "zfs destroy tank/db@monday"
        "; echo auto > /tank/db/file; zfs snapshot tank/db@auto-1; zfs bookmark tank/db@auto-1 tank/db#auto-1",
        "Fail if anything has changed since a snapshot": "zfs create tank/golden; zfs snapshot tank/golden@v3",
        "Find out what a rollback would lose": "zfs snapshot tank/db@monday; zfs snapshot tank/db@tuesday",
    },
    "zfs_snapshot_prune": {
        "": "for n in tank/db tank/www backup/tank/db backup/tank/www; do zfs create -p $n"
        "; for s in daily auto before-deploy; do zfs snapshot $n@$s-1; zfs snapshot $n@$s-2; done; done",
    },
    "zfs_snapshot_replicate": {
        "": "for n in vol home home/scratch db; do zfs create tank/$n; zfs snapshot tank/$n@s1; done"
        "; zfs snapshot tank/vol@s2; zfs set org.example:backup=nightly tank/db",
        "Replicate only the daily snapshots, compressed, at up to 20 MiB/s": "zfs snapshot tank/vol@daily-1",
        "Replicate as another user, with a key of its own": "zfs snapshot tank/vol@later"
        "; rm -rf /etc/cerss.zfs; mkdir /etc/cerss.zfs; cd /etc/cerss.zfs; ssh-keygen -q -t ed25519 -N '' -f id_ed25519"
        "; cp /etc/ssh/ssh_known_hosts known_hosts; ssh backend-b 'userdel --remove zfs-replica 2> /dev/null"
        '; useradd --create-home --password "*" zfs-replica'
        f"; zfs allow zfs-replica {RIGHTS} backup; install -d -o zfs-replica -m 700 ~zfs-replica/.ssh"
        "; cat > ~zfs-replica/.ssh/authorized_keys' < id_ed25519.pub",
        "Discard what was written to the replica, then replicate": "zfs snapshot tank/vol@s3"
        "; ssh backend-b zfs snapshot backup/vol@local",
    },
    "zfs_replication_info": {
        "": "for n in vol db; do zfs create tank/$n; zfs snapshot tank/$n@s1; done; zfs create backup/vol"
    },
    "zfs_replication": {
        "": "zfs create tank/vol; zfs snapshot tank/vol@s1; zfs send tank/vol@s1 | zfs receive -u backup/vol"
        "; zfs send tank/vol@s1 | ssh backend-b zfs receive -u backup/vol"
        f"; {REMOTELY}",
        "End a relationship by its id": REMOTELY,
        "End a relationship whose other backend no longer exists": by_hand("backend-b:"),
        "Turn a replica whose source no longer exists into a normal dataset": LOCALLY,
        "End a relationship between two pools of the same host": LOCALLY,
    },
}


def entrance(module: str, ansible: Ansible, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, str, dict[str, Any]]:
    """(the module, the file of its entry point as in `verbs.run`, what it hands to AnsibleModule)."""
    monkeypatch.syspath_prepend(str(ansible.folder))
    loaded = importlib.import_module(f"ansible_collections.cerss.zfs.plugins.modules.{module}")
    handed: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(loaded, "run_module", lambda main, **spec: handed.append((main, spec)))
    loaded.main()
    ((main, spec),) = handed
    file = (main if callable(main) else main["present"]).__module__.partition(".module_utils.")[2]
    return loaded, file if callable(main) else file.replace("present", "{state}"), spec


@pytest.mark.parametrize("module", WORLD)
def test_examples(module: str, backends: list[Backend], ansible: Ansible, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, verb, spec = entrance(module, ansible, monkeypatch)
    spec.pop("supports_check_mode")
    validator = ArgumentSpecValidator(**spec)
    text = loaded.EXAMPLES
    for said, here in HERE.items():
        text = text.replace(said, here)
    tasks = [task for task in safe_load(text) if f"cerss.zfs.{module}" in task]
    world = dict(WORLD[module])
    assert not set(world) - {"", *(task["name"] for task in tasks)}, "an example has another name now"
    steps: list[tuple[Backend, str | dict[str, Any]]] = [(backends[0], f"set -e; {world.pop('', 'true')}")]
    for task in tasks:
        if task["name"] in world:
            steps.append((backends[0], f"set -e; {world[task['name']]}"))
        checked = validator.validate(task[f"cerss.zfs.{module}"] or {})
        assert not checked.error_messages, f"{task['name']}: {checked.error_messages}"
        options = checked.validated_parameters
        steps.append((backends[1] if (options.get("source") or {}).get("host") else backends[0], options))
    answers = []
    while steps:
        # As many as there are for one backend, in one process
        number = next((n for n, (backend, _step) in enumerate(steps) if backend is not steps[0][0]), len(steps))
        answers += verbs.run(steps[0][0], verb, [step for _backend, step in steps[:number]], look=False, passes=2)
        del steps[:number]
    assert len(answers) == len(tasks) >= 4
    for task, (check, real) in zip(tasks, answers):
        for result in (check, real):
            assert not result.get("failed"), f"{task['name']}: {result}"
        for key in ("changed", "actions", "diff"):
            assert check.get(key) == real.get(key), f"{task['name']}: {key} {check.get(key)}, really {real.get(key)}"


def test_every_module_is_here() -> None:
    modules = verbs.CLONE / "plugins" / "modules"
    assert {path.stem for path in modules.glob("*.py")} == set(WORLD)
