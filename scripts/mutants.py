# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Breaks the most important rules, one at a time in a copy of the tree, and checks that the unit tests fail.

A text that does not occur exactly once in its file is an error, so that the list stays in step with the code.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UTILS = "plugins/module_utils"
# What the unit tests read
COPIED = ("plugins", "roles", "playbooks", "tests/recorded", "tests/unit", "pyproject.toml", "galaxy.yml")


@dataclass(frozen=True)
class Mutant:
    """A rule, its file, its text (``old``) and the text that breaks it (``new``). ``test``: the file that must fail."""

    rule: str
    file: str
    old: str
    new: str
    test: str


REPLICATION, CLOSURE, GATE, DELETION, RETENTION = (
    f"tests/unit/plugins/module_utils/{name}.py"
    for name in (
        "_replication/test_planner",
        "_snapshot/test_dependents",
        "test_gate",
        "_snapshot/test_deletion",
        "_snapshot/test_retention",
    )
)
RECORDED, LAYERS = "tests/unit/test_recorded.py", "tests/unit/test_layers.py"
MODULE = "tests/unit/plugins/module_utils/test_module.py"
RELATIONSHIP = "tests/unit/plugins/module_utils/_replication/test_relationship.py"
PRESENT, ABSENT, PRUNE = (
    f"tests/unit/plugins/module_utils/_snapshot/test_{name}.py" for name in ("present", "absent", "prune")
)
MARKS, EXECUTE, PROPERTIES, VALUES, INVENTORY = (
    f"tests/unit/plugins/module_utils/{name}.py"
    for name in (
        "_core/test_marks",
        "_host/test_execute",
        "_zfs/test_properties",
        "_host/test_values",
        "_host/test_inventory",
    )
)
PAIR, DIVERGENCE, BOOKKEEPING, TRANSFER, OPTIONS = (
    f"tests/unit/plugins/module_utils/_replication/test_{name}.py"
    for name in ("pair", "divergence", "bookkeeping", "transfer", "options")
)
STREAM, PEEK = (f"tests/unit/plugins/module_utils/{name}.py" for name in ("_zfs/test_stream", "_host/test_peek"))

MUTANTS = [
    Mutant("a temporary snapshot is never chosen", "_replication/planner",
           "            not snap.temporary\n            and (not options", "            (not options", REPLICATION),
    Mutant("a named snapshot is the newest one sent", "_replication/planner",
           "snapshots = snapshots[: index + 1]", "snapshots = snapshots[index:]", REPLICATION),
    Mutant("-I carries only what is requested", "_replication/planner",
           "while until < len(requested) and order[requested[until].name] == order[requested[until - 1].name] + 1:",
           "while until < len(requested):", REPLICATION),
    Mutant("from a bookmark there is only -i", "_replication/planner",
           "if packages and isinstance(base, Snapshot) and order[requested[done].name] == order[base.name] + 1:",
           "if not isinstance(base, Snapshot) or order[requested[done].name] == order[base.name] + 1:", REPLICATION),
    Mutant("an open bookmark is not settled", "_replication/planner",
           "if not all(isinstance(OpenCursor.parse(bookmark.bookmark), Spoilt) for bookmark in pair.source.bookmarks):",
           "if not pair.source.bookmarks:", REPLICATION),
    Mutant("a cursor elsewhere is not settled", "_replication/planner",
           "and all(cursor.guid == chosen[-1].guid for", "and any(cursor.guid == chosen[-1].guid for", REPLICATION),
    Mutant("only what is newer than the base is sent", "_replication/planner",
           "start is None or txg(snap) > txg(start)]", "start is None or txg(snap) >= txg(start)]", REPLICATION),
    Mutant("nothing goes into another dataset's replica", "_replication/planner",
           "if mark.guid != pair.source.guid:", "if mark.guid is None:", REPLICATION),
    Mutant("nothing is received into a released replica", "_replication/planner",
           "if mark.released:", "if mark.released and not mark:", REPLICATION),
    Mutant("nothing is received into a dataset without our mark", "_replication/planner",
           "if pair.is_first_receive and token and pair.source.by_guid(token.toguid):", "if not mark:", REPLICATION),
    Mutant("raw and plain are never mixed by a resume", "_replication/planner",
           "if token.raw != raw:", "if token.raw and not token:", REPLICATION),
    Mutant("raw and plain are never mixed on a replica", "_replication/planner",
           "    if pair.mark:\n", "    if pair.mark and not pair.replica:\n", REPLICATION),
    Mutant("only a requested snapshot is resumed", "_replication/planner",
           "if all(snap.guid != token.toguid for snap in chosen):", "if not chosen:", REPLICATION),
    Mutant("a replica's name is not so long that the kernel panics", "_replication/planner",
           "if len(pair.replica_name) > MAX_REPLICA_NAME:", "if len(pair.replica_name) > MAX_NAME:",
           REPLICATION),
    Mutant("a diverged replica is an error unless told otherwise", "_replication/divergence",
           'if options.on_divergence == "fail":', 'if options.on_divergence == "never":', DIVERGENCE),
    Mutant("a rollback spares what others hold", "_replication/divergence",
           "if hold.relationship != relationship]", "if hold.relationship == relationship]", DIVERGENCE),
    Mutant("a rollback spares what has clones", "_replication/divergence",
           'return held + [f"clone {name}" for name in snapshot.clones or []]', "return held", DIVERGENCE),
    Mutant("the base is held while a stream runs", "_replication/pair",
           "for snapshot in [*filter(None, bases), *carried]}", "for snapshot in carried}", PAIR),
    Mutant("the new cursor is made before the old one goes", "_replication/bookkeeping",
           "        *_remember(pair, here, relation),\n",
           "        *(Step.of('', (zfs.destroy(bookmark.name),), side=SOURCE) for bookmark in removed),\n"
           "        *_remember(pair, here, relation),\n", BOOKKEEPING),
    Mutant("holds stay while a part waits to be resumed", "_replication/bookkeeping",
           "[] if replica.token else with_hold(pair.source, step_hold)", "with_hold(pair.source, step_hold)",
           BOOKKEEPING),
    Mutant("the announcement stays while a part waits", "_replication/bookkeeping",
           "if Announcement.NAME in replica.ours and not replica.token:", "if Announcement.NAME in replica.ours:",
           BOOKKEEPING),
    Mutant("the closure goes on to clones of clones", "_snapshot/dependents",
           "open_ends += [snapshot.name for snapshot in clone.snapshots]", "open_ends += []", CLOSURE),
    Mutant("leaves go first", "_snapshot/dependents", "order.append(here)", "order.insert(0, here)", CLOSURE),
    Mutant("a child that is not a clone is an obstacle", "_snapshot/dependents",
           "for child in children.get(dataset.name, []) if child.name not in inside]", "for child in []]", CLOSURE),
    Mutant("a replicated clone is an obstacle", "_snapshot/dependents",
           "*_relationships(clone)]", "]", CLOSURE),
    Mutant("what is held or cloned is only deferred", "_snapshot/deletion",
           "groups.setdefault((snapshot.dataset, bool(needed_by)), [])",
           "groups.setdefault((snapshot.dataset, False), [])",
           DELETION),
    Mutant("a held snapshot is not pruned", "_snapshot/retention",
           "kept = [*reasons, *held]", "kept = [*reasons]", RETENTION),
    Mutant("no mark on a replica's snapshot has it pruned", "_snapshot/prune",
           "        if name in replicas:\n", "        if not name:\n", PRUNE),
    Mutant("a snapshot is held before its first byte is sent", "_replication/replicate",
           "for action in bookkeeping.protect(pair, plan):", "for action in plan.prepare[:0]:", RECORDED),
    Mutant("the cursor moves only after the snapshot has arrived", "_replication/replicate",
           "in bookkeeping.settle(pair):\n", "in bookkeeping.settle(plan.pair):\n", RECORDED),
    Mutant("a rollback destroys no newer snapshots", "_zfs/commands",
           'return ["zfs", "rollback", snapshot_name]', 'return ["zfs", "rollback", "-r", snapshot_name]', RECORDED),
    Mutant("a snapshot with dependents is only deferred", "_zfs/commands",
           '"destroy", *(["-d"] if defer else [])', '"destroy", *([] if defer else [])', RECORDED),
    Mutant("a lower package imports no upper one", "_zfs/output",
           "import number\n", "import number\n"
           "from ansible_collections.cerss.zfs.plugins.module_utils._host import process\n", LAYERS),
    Mutant("what decides starts nothing", "_zfs/output", "import re\n", "import re\nimport subprocess\n", LAYERS),
    Mutant("no import goes in a circle", "_core/units",
           "import BadInput\n", "import BadInput\n"
           "from ansible_collections.cerss.zfs.plugins.module_utils._core import names\n"
           "from ansible_collections.cerss.zfs.plugins.module_utils._core.model import Hold\n", LAYERS),
    Mutant("a mark has the id of a relationship", "_core/marks", 'and is_id(value["id"])', 'and value["id"]', MARKS),
    Mutant("a mark has its keys and no others", "_core/marks",
           "{*required} <= value.keys() <= {*required, *optional}", "{*required} <= value.keys()", MARKS),
    Mutant("a mark that nests deeply is spoilt", "_core/marks", "(ValueError, RecursionError)", "ValueError", MARKS),
    Mutant("a lifetime is no longer than any time", "_core/marks", "[0-9]{1,11}", "[0-9]+", MARKS),
    Mutant("a plan stops at the first refusal", "_host/execute",
           "            error.details.update(actions=done, changed=bool(done))\n            raise\n",
           "            error.details.update(actions=done, changed=bool(done))\n", EXECUTE),
    Mutant("what a batch does not name goes on", "_host/execute",
           "+ ([step.part(rest)] if rest else [])", "+ []", EXECUTE),
    Mutant("a name is no part of another", "_host/execute",
           """(f"'{name}'", f"snapshot {name}:", f" {name}: ")""", "(name,)", EXECUTE),
    Mutant("what gets a hold meanwhile is deferred", "_host/execute",
           "isinstance(error, (HasClones, Held)):\n            _attempt", "False:\n            _attempt", EXECUTE),
    Mutant("null unsets a property", "_zfs/properties",
           "if value is None or isinstance(value, str):", "if isinstance(value, str):", PROPERTIES),
    Mutant("booleans of user properties are true and false", "_zfs/properties",
           'if is_user_property(name) else ("off", "on")[value]', 'if not name else ("off", "on")[value]', PROPERTIES),
    Mutant("ending one relationship leaves others alone", "_replication/relationship",
           "return mark is not None and mark.id == id_", "return mark is not None", RELATIONSHIP),
    Mutant("a mark that cannot be read is not taken over", "_replication/relationship",
           "if isinstance(SourceMark.of(pair.replica.ours), Spoilt):", "if pair.replica is None:", RELATIONSHIP),
    Mutant("no replica gets a snapshot of its own", "_snapshot/present",
           ".is_replica and not dataset.by_name(name)", ".is_replica and dataset.by_name(name)", PRESENT),
    Mutant("what was not created is no action", "_snapshot/present",
           "for effect in step.effects if effect.key not in left)", "for effect in step.effects)", PRESENT),
    Mutant("what was not deleted is no action", "_snapshot/absent",
           "for effect in outcome.done if effect.name not in failures]", "for effect in outcome.done]", ABSENT),
    Mutant("what was not pruned is no action", "_snapshot/prune",
           "for effect in outcome.done if effect.name not in left)", "for effect in outcome.done)", PRUNE),
    Mutant("a line too many is noticed", "_zfs/output",
           "return len(printed) == len(properties) and all(", "return all(", VALUES),
    Mutant("a missing line is noticed", "_host/values", "doubtful | (silent ^ gone)", "doubtful", VALUES),
    Mutant("native and user properties are never read at once", "_host/values",
           "for kind in (native, user) for part", "for kind in (native + user,) for part", VALUES),
    Mutant("a hold that a tag imitates is no hold", "_host/inventory",
           "if doubtful and len(batch) > 1:", "if doubtful and not batch:", INVENTORY),
    Mutant("a required option must not be blank", "_module",
           'known[name].get("required") or not', "not", MODULE),
    Mutant("gate: nothing outside the root", "_gate",
           "if not job.root.covers(name):", "if job.root.pool != name.pool:", GATE),
    Mutant("gate: no flag that we do not write, such as -F", "_gate",
           "if form(_Arguments(argv[2:]), job) != argv:", "if not form(_Arguments(argv[2:]), job):", GATE),
    Mutant("gate: a replica is created only with what is allowed", "_gate",
           "if name not in job.properties and not (values is None or value in values):",
           "if name in job.properties and not (values is None or value in values):", GATE),
    Mutant("gate: only cursors are destroyed", "_gate",
           "if all(isinstance(mark.parse(name.bookmark), Spoilt) for mark in (Cursor, OpenCursor)):",
           "if not name.bookmark:", GATE),
    Mutant("gate: only our own holds are released", "_gate",
           "if all(isinstance(hold.parse(tag), Spoilt) for hold in holds):", "if not tag:", GATE),
    Mutant("gate: only our own properties are set", "_gate",
           "    if not ours:\n", "    if not name:\n", GATE),
    Mutant("gate: the line is one that we write", "_gate",
           "if not all(commands) or endpoint.line(commands) != line:", "if not all(commands):", GATE),
    Mutant("gate: no control characters", "_gate", "if _CONTROL.search(line):", 'if "\\0" in line:', GATE),
    Mutant("gate: a pipeline is one compressor and one stream", "_gate",
           "if other not in others or command[: len(begin)] != begin:", "if other not in others:", GATE),
    Mutant("stream: no package with a payload", "_zfs/stream",
           "    if head.payload:\n", "    if not head:\n", STREAM),
    Mutant("stream: no package within a package", "_zfs/stream",
           "    if part is not None:\n", "    if part == -1:\n", STREAM),
    Mutant("stream: no package where one snapshot was asked for", "_zfs/stream",
           "len(expected.parts) == 1:", "len(expected.parts) == 0:", STREAM),
    Mutant("stream: no single stream where a package was asked for", "_zfs/stream",
           "if part is None and count not in (None, 1):", "if part is None and count == 0:", STREAM),
    Mutant("stream: no more snapshots than were asked for", "_zfs/stream",
           "(part or 0) >= count:", "(part or 0) > count:", STREAM),
    Mutant("stream: no fewer snapshots than were asked for", "_zfs/stream",
           "or parts == len(expected.parts):", "or parts <= len(expected.parts):", STREAM),
    Mutant("stream: no clone of an origin that is not named", "_zfs/stream",
           "if head.clone and not expected.clone and not head.resumed:", "if head is None:", STREAM),
    Mutant("stream: the snapshot that was asked for", "_zfs/stream",
           "if head.toguid != toguid:", "if not head.toguid:", STREAM),
    Mutant("stream: from the base that was asked for", "_zfs/stream",
           "if head.fromguid != fromguid:", "if head.fromguid and not fromguid:", STREAM),
    Mutant("stream: raw and plain are told apart", "_zfs/stream",
           '        ("raw", expected.raw, head.raw),\n', "", STREAM),
    Mutant("stream: volumes and filesystems are told apart", "_zfs/stream",
           '        ("of a volume", expected.volume, head.volume),\n', "", STREAM),
    Mutant("stream: resumed and new ones are told apart", "_zfs/stream",
           '        ("resumed", expected.resumed, head.resumed),\n', "", STREAM),
    Mutant("stream: the bit that says raw", "_zfs/stream", "_RAW = 1 << 24 << 2", "_RAW = 1 << 24", STREAM),
    Mutant("what is pulled is looked at before it is received", "_replication/transfer",
           "if source.endpoint.host is None and target.endpoint.host is not None:", "if True:", TRANSFER),
    Mutant("each part is looked at", "_replication/transfer",
           "else stream.fault(read_head(record), expected, part)",
           "else stream.fault(read_head(record), Expected(), part)", TRANSFER),
    Mutant("the head of a package ends", "_replication/transfer",
           "if not stream.is_end(self.pipe.ahead()):", "if not self.pipe.ahead():", TRANSFER),
    Mutant("what is pulled in the raw mode is raw only if encrypted", "_replication/transfer",
           "raw=send.raw and pair.source.encrypted,", "raw=send.raw,", TRANSFER),
    Mutant("a pulled clone is a volume when its origin is one", "_replication/transfer",
           "stream.fault(head, self.asked.expected) or self._fault_of_origin()",
           "stream.fault(head, self.asked.expected)", TRANSFER),
    Mutant("a stream is unpacked where it is looked at", "_replication/transfer",
           "return [*limit, *unpack], [*pack, *target", "return limit, [*target", TRANSFER),
    Mutant("what is pulled brings no setuid and devices", "_replication/bookkeeping",
           "PULLED_DEFAULTS if options.pulled else {}", "{}", BOOKKEEPING),
    Mutant("a relay takes no package", "_replication/options",
           "packages=sender.host is None or receiver.host is None,", "packages=True,", OPTIONS),
    Mutant("the next bytes stay in the pipe", "_host/peek",
           "if tee(pipe, writer, size, 0) != size:", "if os.write(writer, os.read(pipe, size)) != size:", PEEK),
    Mutant("a look at a pipe never waits", "_host/peek",
           "if there[0] >= size else None", "if there[0] else None", PEEK),
    Mutant("gate: no package within a package", "_gate",
           "stream.Expected(clone=origin is not None), part)", "stream.Expected(clone=origin is not None))", GATE),
    Mutant("gate: no clone of an origin that is not named", "_gate",
           "stream.Expected(clone=origin is not None)", "stream.Expected(clone=True)", GATE),
    Mutant("gate: a clone is a volume when its origin is one", "_gate",
           "head.volume if origin is None else is_volume", "head.volume if head else is_volume", GATE),
    Mutant("gate: other receives are not shown", "_gate",
           "if writers or any(place.search", "if writers or receivers or any(place.search", GATE),
]  # fmt: skip


def survives(mutant: Mutant, folder: Path) -> str:
    """What is wrong with the tests or with this list; "" when the tests fail as they should."""
    place = copied(folder / str(MUTANTS.index(mutant)))
    file = place / UTILS / f"{mutant.file}.py"
    text = file.read_text()
    if text.count(mutant.old) != 1:
        return f"the text occurs {text.count(mutant.old)} times in {file.name}: bring this list up to date"
    file.write_text(text.replace(mutant.old, mutant.new))
    done = tested(place, mutant.test)
    shutil.rmtree(place)
    if done.returncode == 1 and "failed" in done.stdout:
        return ""
    return "GREEN: no test fails" if done.returncode == 0 else f"the tests do not run:\n{done.stdout}{done.stderr}"


def copied(place: Path) -> Path:
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, place / name)
    return place


def tested(place: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    # Without plugins, which take longer to start than the tests to run
    env = {**os.environ, "HYPOTHESIS_PROFILE": "mutants", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    run = [sys.executable, "-m", "pytest", "-x", "-q", *tests]
    return subprocess.run(run, cwd=place, env=env, capture_output=True, text=True, check=False)


def main() -> int:
    bad = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        whole = tested(copied(Path(folder, "whole")), *{mutant.test for mutant in MUTANTS})
        if whole.returncode:
            print(f"the tests fail without a mutant:\n{whole.stdout}{whole.stderr}")
            return 1
        for mutant, why in zip(MUTANTS, pool.map(lambda mutant: survives(mutant, Path(folder)), MUTANTS)):
            print(f"{mutant.file:24} {mutant.rule:54} {why or 'red'}", flush=True)
            bad += bool(why)
    print(f"{len(MUTANTS) - bad} of {len(MUTANTS)} rules are covered by the unit tests")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
