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
RUNFILES = "tests/unit/plugins/module_utils/_host/test_runfiles.py"
ACTION = "tests/unit/plugins/action/test_zfs_snapshot_replicate.py"
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
PAIR, AGREEMENT, DIVERGENCE, RESEED, BOOKKEEPING, TRANSFER, OPTIONS, INFO, REPORT, ATTEMPT, WAVE, RUN = (
    f"tests/unit/plugins/module_utils/_replication/test_{name}.py"
    for name in ("pair", "agreement", "divergence", "reseed", "bookkeeping", "transfer", "options", "info", "report",
                 "attempt", "wave", "run")
)  # fmt: skip
ACTIVITY, OUTPUT, ERRORS, BACKEND, ENDPOINT = (
    f"tests/unit/plugins/module_utils/{name}.py"
    for name in (
        "_host/test_activity",
        "_zfs/test_output",
        "_zfs/test_errors",
        "_host/test_backend",
        "_core/test_endpoint",
    )
)
WANTED, PROCESSES, DATASET, PROCESS = (
    f"tests/unit/plugins/module_utils/{name}.py"
    for name in ("_host/test_wanted", "_zfs/test_processes", "_dataset/test_dataset", "_host/test_process")
)
STREAM, PROGRAM, PEEK, HOOKS = (
    f"tests/unit/plugins/module_utils/{name}.py"
    for name in ("_zfs/test_stream", "_zfs/test_program", "_host/test_peek", "_snapshot/test_hooks")
)

MUTANTS = [
    Mutant("a temporary snapshot is never chosen", "_replication/planner",
           "            not snap.temporary\n", "            snap.name\n", REPLICATION),
    Mutant("what was deleted is never chosen", "_replication/planner",
           "            and snap.state != PENDING_DELETE\n", "", REPLICATION),
    Mutant("a named snapshot is the newest one sent", "_replication/planner",
           "snapshots = snapshots[: index + 1]", "snapshots = snapshots[index:]", REPLICATION),
    Mutant("-I carries only what is requested", "_replication/planner",
           "\n                and order[requested[until].name] == order[requested[until - 1].name] + 1", "",
           REPLICATION),
    Mutant("a package has at most a hundred snapshots", "_replication/planner",
           "until < min(len(requested), done + PACKAGE)", "until < len(requested)", REPLICATION),
    Mutant("from a bookmark there is only -i", "_replication/planner",
           "if packages and isinstance(base, Snapshot) and order[requested[done].name] == order[base.name] + 1:",
           "if not isinstance(base, Snapshot) or order[requested[done].name] == order[base.name] + 1:", REPLICATION),
    Mutant("only what is newer than the base is sent", "_replication/planner",
           "if base is None or txg(snap) > txg(base)]", "if base is None or txg(snap) >= txg(base)]", REPLICATION),
    Mutant("settled: nothing was written or is half received", "_replication/planner",
           "not (replica.written or replica.has_partial_receive or replica.inconsistent or mark.beside)",
           "not mark.beside", REPLICATION),
    Mutant("settled: nothing requested is missing", "_replication/planner",
           "and all(snap.guid in there for snap in chosen if txg(snap) >= first)",
           "and pair", REPLICATION),
    Mutant("settled: no mark is missing", "_replication/planner",
           "        and not (finish.rest or finish.commit)\n", "", REPLICATION),
    Mutant("what is paused is skipped", "_replication/planner",
           "    if pair.record and pair.record.paused:\n", "    if pair.record and not pair.record:\n", REPLICATION),
    Mutant("a renamed replica is not started again", "_replication/planner",
           "    if pair.moved_to:\n", "    if pair.moved_to and not pair:\n", REPLICATION),
    Mutant("raw and plain are never mixed by a resume", "_replication/planner",
           "if token.raw != (plan.raw and source.encrypted):", "if token.raw and not token:", REPLICATION),
    Mutant("only a requested snapshot is resumed", "_replication/planner",
           "if all(snap.guid != token.toguid for snap in chosen):", "if not chosen:", REPLICATION),
    Mutant("a resume leaves nothing out", "_replication/planner",
           "    if skipped:\n", "    if skipped and not source:\n", REPLICATION),
    Mutant("a resume starts from the newest one there", "_replication/planner",
           "if newest is not None and newest.guid != token.fromguid:", "if newest is not None and not token:",
           REPLICATION),
    Mutant("a partial receive of others is not aborted", "_replication/planner",
           "    if receiver.source_mark is None:\n", "    if receiver is None:\n", REPLICATION),
    Mutant("a first receive started by hand gets our mark", "_replication/planner",
           "if resumes and receiver is not None and receiver.source_mark is None:", "if resumes and receiver is None:",
           REPLICATION),
    Mutant("a replica's name is not so long that the kernel panics", "_replication/planner",
           "if len(pair.replica_name) > MAX_REPLICA_NAME:", "if len(pair.replica_name) > MAX_NAME:",
           REPLICATION),
    Mutant("names are checked before the first stream", "_replication/planner",
           "    _check_snapshot_names(plan, after)\n", "", REPLICATION),
    Mutant("our cursor proves that a snapshot was delivered", "_replication/planner",
           "return [there] if there and there.guid in known else []", "return [there] if there else []", REPLICATION),
    Mutant("only check mode assumes a snapshot", "_replication/planner",
           "        if assume_created:\n", "        if pair:\n", REPLICATION),
    Mutant("parents are created only for what is sent", "_replication/planner",
           "        if plan.sends and not plan.error:\n", "        if not plan.error:\n"
           "            plan = replace(plan, parents=pair.missing_parents)\n", REPLICATION),
    Mutant("no replica below one that is not created", "_replication/planner",
           "    if not (plan.sends and above):\n", "    if plan.sends or not above:\n", REPLICATION),
    Mutant("a clone is in the pool of its origin", "_replication/planner",
           ' or DatasetName(place.partition("@")[0]).pool != DatasetName(pair.replica_name).pool', "", REPLICATION),
    Mutant("what one plan brings is known to the next", "_replication/planner",
           "arriving.update(_places_after(plan, arriving))", "arriving.update({})", REPLICATION),
    Mutant("what is foreseen has been rolled back", "_replication/planner",
           "after = pair if plan.reseeds else replace(pair, replica=receiver)", "after = pair", DIVERGENCE),
    Mutant("what is foreseen of a reseed has no holds", "_replication/planner",
           "        return bookkeeping.freed_pair(pair)\n", "        return pair\n", RESEED),
    Mutant("what a former reseed has left is not this plan's", "_replication/planner",
           "return pair if plan.reseeds else replace(pair, beside=None)", "return pair", RESEED),
    Mutant("a diverged replica is an error unless told otherwise", "_replication/planner",
           'not begun and options.on_divergence == "fail":', 'not begun and options.on_divergence == "never":',
           DIVERGENCE),
    Mutant("a reseed into what has diverged itself is an error", "_replication/planner",
           "if common is None or common[0] is not new.snapshots[-1] or new.written:", "if common is None:", RESEED),
    Mutant("both sides have the same id", "_replication/agreement",
           '        ("id", record.id, mark.id),\n', "", AGREEMENT),
    Mutant("both sides have the same mode", "_replication/agreement",
           '        ("mode", record.mode, mark.mode),\n', "", AGREEMENT),
    Mutant("the record names the replica", "_replication/agreement",
           "record.guid, pair.replica.guid if pair.replica else None),", "record.guid, record.guid),", AGREEMENT),
    Mutant("nothing goes into another dataset's replica", "_replication/agreement",
           "if mark.guid not in (pair.source.guid, record.formerly if record else None):", "if not mark.guid:",
           AGREEMENT),
    Mutant("a former source is remembered", "_replication/agreement",
           "(pair.source.guid, record.formerly if record else None)", "(pair.source.guid,)", AGREEMENT),
    Mutant("nothing is received into a released replica", "_replication/agreement",
           "if mark.released:", "if mark.released and not mark:", AGREEMENT),
    Mutant("nothing is received into what was put aside", "_replication/agreement",
           "if mark.put_aside:", "if mark.put_aside and not mark:", AGREEMENT),
    Mutant("what a replica says alone is only a claim", "_replication/agreement",
           "    if record is None:\n", "    if record is None:\n        return\n    if record is None:\n", AGREEMENT),
    Mutant("nothing is received into a dataset without our mark", "_replication/agreement",
           "if pair.is_first_receive and token and pair.source.by_guid(token.toguid):", "if replica:", AGREEMENT),
    Mutant("nothing is received where the mark cannot be read", "_replication/agreement",
           "if pair.replica is not None and isinstance(SourceMark.of(pair.replica.ours), Spoilt):",
           "if pair.replica is not None and not pair.replica:", AGREEMENT),
    Mutant("nothing is sent where the record cannot be read", "_replication/agreement",
           "if isinstance(ReplicaRecords.all_of(pair.source.ours).get(pair.pool), Spoilt):", "if not pair.source:",
           AGREEMENT),
    Mutant("a replica that is begun is that of its place", "_replication/agreement",
           " and pair.is_place_of(record)", "", AGREEMENT),
    Mutant("the source's record decides between raw and plain", "_replication/agreement",
           "return pair.record.mode", "return PLAIN", AGREEMENT),
    Mutant("an encrypted source is sent raw", "_replication/agreement",
           'return RAW if pair.source.encrypted and raw != "never" else PLAIN',
           'return RAW if raw == "always" else PLAIN', AGREEMENT),
    Mutant("raw and plain are never mixed on a replica", "_replication/agreement",
           'if options.raw == "never" and mode == RAW:', 'if options.raw == "never" and not mode:', AGREEMENT),
    Mutant("raw=always is no contradiction without encryption", "_replication/agreement",
           "mode == PLAIN and pair.source.encrypted:", "mode == PLAIN:", AGREEMENT),
    Mutant("what was written there is a divergence", "_replication/divergence",
           "if not newer and not replica.written:", "if not newer:", DIVERGENCE),
    Mutant("a rollback destroys only what is newer", "_replication/divergence",
           "for snap in replica.snapshots if txg(snap) > txg(there))",
           "for snap in replica.snapshots if txg(snap) >= txg(there))", DIVERGENCE),
    Mutant("a rollback spares what others hold", "_replication/divergence",
           "for hold in snapshot.holds or [] if hold.tag != LastHold.TAG]",
           "for hold in snapshot.holds or [] if hold.tag == LastHold.TAG]", DIVERGENCE),
    Mutant("a rollback spares what has clones", "_replication/divergence",
           'return held + [f"clone {name}" for', 'return held + [f"clone {name}" for name in [] for', DIVERGENCE),
    Mutant("a rollback spares the bases of further replicas", "_replication/divergence",
           "for each in found.later if each.relationship]", "for each in found.later if not each]", DIVERGENCE),
    Mutant("a partial receive ends before its base", "_replication/divergence",
           "if pair.replica and loses_part(pair.replica, found):", "if not pair.replica:", DIVERGENCE),
    Mutant("a refusal names what a rollback would destroy", "_replication/divergence",
           'parts.append(f"our hold on {listed(held)}")', "pass", DIVERGENCE),
    Mutant("a mark of another pool does not count", "_replication/pair",
           "found = ReplicaRecords.all_of(self.source.ours).get(self.pool)",
           "found = next(iter(ReplicaRecords.all_of(self.source.ours).values()), None)", PAIR),
    Mutant("the record of a replica is found by its GUID first", "_replication/pair",
           "*(entry for entry in entries if entry.guid == guid),", "*(),", PAIR),
    Mutant("a cursor is made before the stream", "_replication/bookkeeping",
           "        if step:\n            result.append(step)\n", "        if step:\n", BOOKKEEPING),
    Mutant("a package is held", "_replication/bookkeeping",
           "if send.intermediates or is_long(send) or", "if is_long(send) or", BOOKKEEPING),
    Mutant("a long stream is held", "_replication/bookkeeping",
           "if send.intermediates or is_long(send) or", "if send.intermediates or", BOOKKEEPING),
    Mutant("what has no room for a cursor is held", "_replication/bookkeeping",
           "is_long(send) or not has_cursor_room(pair.source.name):", "is_long(send):", BOOKKEEPING),
    Mutant("a new replica has no commit point yet", "_replication/bookkeeping",
           "    if pair.point:  # of", "    if not pair:  # of", BOOKKEEPING),
    Mutant("the GUID of the replica is recorded with the commit", "_replication/bookkeeping",
           "record, guid=str(replica.guid or record.guid),", "record, guid=record.guid,", BOOKKEEPING),
    Mutant("the commit comes last", "_replication/bookkeeping",
           "if step), *self.rest, *self.commit)", "if step), *self.commit, *self.rest)", BOOKKEEPING),
    Mutant("records of other replicas stay", "_replication/bookkeeping",
           "settings = {ReplicaRecords.name(pair.pool): pair.records.with_entry(record).format()}",
           "settings = {ReplicaRecords.name(pair.pool): ReplicaRecords((record,)).format()}", BOOKKEEPING),
    Mutant("holds stay while a part waits to be resumed", "_replication/bookkeeping",
           "held = [] if receiver.token else with_hold(pair.source, tag)", "held = with_hold(pair.source, tag)",
           BOOKKEEPING),
    Mutant("the announcement stays while a part waits", "_replication/bookkeeping",
           "if Announcement.NAME in replica.ours and not replica.token:", "if Announcement.NAME in replica.ours:",
           BOOKKEEPING),
    Mutant("an announcement is bounded", "_replication/bookkeeping",
           "while len(Announcement(tuple(entries)).format()) > MOST_ANNOUNCED:", "while len(entries) > 10**6:",
           BOOKKEEPING),
    Mutant("what a release destroys is named", "_replication/bookkeeping",
           " and snap.userrefs == 1 and not snap.clones\n", " and not snap.clones\n", BOOKKEEPING),
    Mutant("what a release destroys is not foreseen any more", "_replication/bookkeeping",
           "for snap in pair.source.snapshots if snap.name not in ends]", "for snap in pair.source.snapshots]",
           BOOKKEEPING),
    Mutant("a base without a cursor stays held", "_replication/bookkeeping",
           "        held = [snap for snap in held if snap.guid != here.guid]\n", "        pass\n", BOOKKEEPING),
    Mutant("a few cursors are not swept", "_replication/bookkeeping",
           "if len(own) <= MANY_CURSORS:", "if not own:", BOOKKEEPING),
    Mutant("cursors of what is not there are swept", "_replication/bookkeeping",
           "for each in own if each.guid in arrived])}", "for each in own])}", BOOKKEEPING),
    Mutant("cursors of what is to be sent are not swept", "_replication/bookkeeping",
           "if txg(each) < txg(here) and each.name not in kept]", "if each.name not in kept]", BOOKKEEPING),
    Mutant("a cursor whose time was not read stays", "_replication/bookkeeping",
           "    kept += [bookmark for bookmark in ordered if bookmark.created is None]\n", "", BOOKKEEPING),
    Mutant("what waits to be resumed is held", "_replication/bookkeeping",
           "    if waiting:\n", "    if waiting and not pair:\n", BOOKKEEPING),
    Mutant("cursors from before a failed run stay", "_replication/bookkeeping",
           " and bookmark.name not in known and cursor", " and cursor", BOOKKEEPING),
    Mutant("cursors of what has arrived stay", "_replication/bookkeeping",
           " and bookmark.name not in known and cursor.guid not in there]", " and bookmark.name not in known]",
           BOOKKEEPING),
    Mutant("a base without a cursor stays held after an error", "_replication/bookkeeping",
           "in with_hold(pair.source, tag) if snap.guid not in bases]", "in with_hold(pair.source, tag)]", BOOKKEEPING),
    Mutant("a new replica is known by its mark", "_replication/reseed",
           "(mark.id, mark.guid) == (pair.id, pair.source.guid)", "mark.id == pair.id", RESEED),
    Mutant("a replica is not promoted without its history", "_replication/reseed",
           "    if _takes_history(pair, None):\n", "    if new:\n", RESEED),
    Mutant("children move before the old one is put aside", "_replication/reseed",
           "*_move_children(pair, old, new), _aside(pair, old)]", "_aside(pair, old), *_move_children(pair, old, new)]",
           RESEED),
    Mutant("a mark is not copied", "_replication/reseed",
           "if name not in _NOT_COPIED and there", "if there", RESEED),
    Mutant("a further replica's source has changed", "_replication/reseed",
           "tuple(replace(entry, formerly=guid) for entry in records.entries)", "records.entries", RESEED),
    Mutant("what is set is not set again", "_replication/reseed",
           " and there.get(name) != value}", "}", RESEED),
    Mutant("holds that moved are not released", "_replication/reseed",
           "    left = _divided(pair)[1]\n", "    left = old.snapshots if old else []\n", RESEED),
    Mutant("the old replica is marked", "_replication/reseed",
           "beside=False, put_aside=True)", "beside=False)", RESEED),
    Mutant("a replica that has its place can be replaced again", "_replication/reseed",
           " and not is_begun(pair)\n", "\n", RESEED),
    Mutant("an old replica is not overwritten", "_replication/reseed",
           "    if pair.old is not None:\n", "    if not pair:\n", RESEED),
    Mutant("no reseed that a name would end half-way", "_replication/reseed",
           "    if twice:\n", "    if twice and not pair:\n", RESEED),
    Mutant("no reseed that a key would end half-way", "_replication/reseed",
           "    if stuck:\n", "    if stuck and not pair:\n", RESEED),
    Mutant("no reseed that a length would end half-way", "_replication/reseed",
           "if len(pair.replica_name) + _LENGTH > MAX_REPLICA_NAME:", "if len(pair.replica_name) > MAX_REPLICA_NAME:",
           RESEED),
    Mutant("a loaded key is loaded once", "_replication/reseed",
           """    if loaded and new.get("keystatus") != "available":\n""", "    if loaded:\n", RESEED),
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
    Mutant("a snapshot is held before its first byte is sent", "_replication/attempt",
           "    work.do(plan.protect, task.report,", "    work.do((), task.report,", ATTEMPT),
    Mutant("the commit point moves only after the snapshot has arrived", "_replication/wave",
           "if plan.sends and not (receiver and receiver.by_guid(plan.sends[-1].snapshot.guid)):",
           "if not plan:", WAVE),
    Mutant("a first replication begins only with its record", "_replication/attempt",
           "needed=bookkeeping.declares)", "needed=lambda _step: False)", ATTEMPT),
    Mutant("a source that takes no marks is replicated all the same", "_replication/attempt",
           "if needed(step) or step.side != SOURCE:", "if step:", ATTEMPT),
    Mutant("no commit point while other marks are missing", "_replication/attempt",
           "                whole = False\n", "", WAVE),
    Mutant("a program compares the marks first", "_replication/together",
           "program.group(self.pair.source.name, expected, commands)",
           "program.group(self.pair.source.name, {}, commands)", RUN),
    Mutant("the marks of a single pair are compared too", "_replication/together",
           "    for pool, found in pools.items():",
           "    for pool, found in [each for each in pools.items() if len(each[1]) > 1]:", RUN),
    Mutant("marks that have changed are not written by commands either", "_replication/wave",
           "if each not in done and each not in changed]", "if each not in done]", RUN),
    Mutant("marks that another run counts on stay", "_replication/run",
           "self._fail(task, error)  # marks", "self._fail(task, attempt.give_up(self.work, task, error))  #", RUN),
    Mutant("what is no text is written all the same", "_zfs/program", "os.fsencode(text)", "text.encode()", PROGRAM),
    Mutant("a result has one end for each group", "_zfs/program",
           "    if len(found) != count:", "    if not found:", PROGRAM),
    Mutant("commands do what a refused program has not done", "_replication/together",
           "{program.DONE: done, program.CHANGED: changed}.get(end, [])",
           "{program.DONE: done, program.CHANGED: changed}.get(end, done)", RUN),
    Mutant("only root runs programs", "_replication/together",
           "part.operations() if work.source.is_root else None", "part.operations()", RUN),
    Mutant("a wave waits for what can start at once", "_replication/run",
           "        self._start(pool)\n", "        self._start(pool) if not self._arrived else None\n", RUN),
    Mutant("a program does a group in full or not at all", "_zfs/program",
           "        if not found:\n            return None\n", "", PROGRAM),
    Mutant("children of a command in the background live on", "_host/process",
           "    except BaseException:\n        end_group(process)\n        raise\n",
           "    finally:\n        end_group(process)\n", HOOKS),
    Mutant("a frozen filesystem does not block what comes after", "_snapshot/hooks",
           "command.run(outputs.pop())", "command.run(tempfile.TemporaryFile())", HOOKS),
    Mutant("a rollback holds the common snapshot before it releases", "_replication/divergence",
           "[] if found.there in ours else [bookkeeping.last_hold(pair, found.there)]", "[]", DIVERGENCE),
    Mutant("nothing is begun after the end", "_host/backend",
           '        self.wanted.check(f"before {short_command(command)}", GRACE)\n', "", WANTED),
    Mutant("a command that does not end is ended", "_host/process",
           "        if check and not why:\n", "        if check is None:\n", WANTED),
    Mutant("lines that do not come are not waited for", "_host/process",
           "                if self.check:\n                    self.check()\n", "", WANTED),
    Mutant("a lost lease ends a run for good", "_host/wanted",
           "                self.stop.set()\n", "                pass\n", WANTED),
    Mutant("effects have no grace", "_replication/attempt",
           'self.wanted.check(f"before {what}", grace)', 'self.wanted.check(f"before {what}", 3600)', ATTEMPT),
    Mutant("what has arrived is still noted", "_host/wanted", "(self._ended or 0) + grace", "0", WANTED),
    Mutant("a run that has to end starts nothing", "_replication/run",
           "        if self.work.wanted.fault():\n            self._start_nothing()\n", "", RUN),
    Mutant("only a receiver that told its pid is ended", "_replication/attempt",
           "processes.is_receiver(process_list(work.target), pid, into)", "process_list(work.target)", ATTEMPT),
    Mutant("a pid is not enough", "_zfs/processes",
           r"(?:\S+ -n )?(?:\S*/)?zfs receive .* {re.escape(dataset)}", ".*", PROCESSES),
    Mutant("the first reading is tried again", "_host/wanted", "failures > retries", "failures", ATTEMPT),
    Mutant("only what cannot have run is tried again", "_zfs/errors",
           "return rc == SSH_FAILED and bool(re.search(form, stderr))", "return rc == SSH_FAILED", BACKEND),
    Mutant("an argument is the same in any shell", "_core/endpoint", "[!\\\\]", "[!]", ENDPOINT),
    Mutant("without process 1 a list is not whole", "_zfs/processes", "self.whole and ", "", PROCESSES),
    Mutant("where processes are hidden the token is watched", "_host/activity",
           "return not found.known and any(", "return any(", ACTIVITY),
    Mutant("nothing is renamed over a receive that is hidden", "_replication/attempt",
           "list(there) or [pair.replica_name]", "[pair.replica_name]", ATTEMPT),
    Mutant("lines of ps are whole", "_zfs/commands", '"-ww", ', "", ACTIVITY),
    Mutant("noise beside missing names is no failure", "_zfs/output",
           "(rc != 1 or _FAILURE.match(line))", "True", OUTPUT),
    Mutant("any line is one if zfs has not ended by itself", "_zfs/output", "rc != 1 or ", "", OUTPUT),
    Mutant("what zfs says decides", "_zfs/errors", '"" if rc == SSH_FAILED else of_zfs(stderr)', '""', ERRORS),
    Mutant("a gate shows its receive once", "_gate", " if each.pid in pids]", "]", GATE),
    Mutant("a stop ends a stream between two programs of root", "_replication/transfer",
           '        between = [["cat"]]', "        pass", TRANSFER),
    Mutant("a rename looks for replicas below", "_dataset/dataset",
           "sorted(below.items()) if name != old.name", "sorted(below.items()) if not name", DATASET),
    Mutant("a rename looks for receives below", "_dataset/dataset",
           "    if running.receiving.below(old.name):", "    if not old:", DATASET),
    Mutant("a connection is known by both ends", "_gate",
           "row[1] in local and row[2] in remote", "row[1] in local", GATE),
    Mutant("bytes on their way are no silence", "_gate", 'row[6].strip("0")', 'row[4].strip("0:")', GATE),
    Mutant("who may not be ended is not waited for", "_host/process",
           "if process.poll() is None and _signal(process, signal.SIGTERM):",
           "_signal(process, signal.SIGTERM)\n    if process.poll() is None:", PROCESS),
    Mutant("a pid is kept until the host answers", "_replication/attempt",
           "    pid = task.receiver\n", "    pid, task.receiver = task.receiver, None\n", ATTEMPT),
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
    Mutant("a mark that cannot be read is ended only by name", "_replication/relationship",
           "return dataset.name == named", "return True", RELATIONSHIP),
    Mutant("ending one relationship leaves its neighbours alone", "_replication/relationship",
           'found.without(id_).format() if len(found.entries) > 1 else ""', '""', RELATIONSHIP),
    Mutant("no relationship is ended by the claim of a replica", "_replication/relationship",
           "return claimed if all(each.id != claimed for each in records) else None", "return claimed", RELATIONSHIP),
    Mutant("another relationship's id is not taken", "_replication/relationship",
           "if pair.mark and pair.mark.id not in others else None", "if pair.mark else None", RELATIONSHIP),
    Mutant("another relationship's record is not taken", "_replication/relationship",
           "(record.guid == pair.replica.guid or pair.is_place_of(record))", "record", RELATIONSHIP),
    Mutant("the replica of a living dataset is not adopted", "_replication/relationship",
           "mark.guid != pair.source.guid and not gone:", "mark.guid != pair.source.guid and not mark:", RELATIONSHIP),
    Mutant("only a pause that changes something is an action", "_replication/relationship",
           "if record.paused != paused:", "if record:", RELATIONSHIP),
    Mutant("info: what is paused is a problem", "_replication/info",
           "    elif known.paused:\n", "    elif not known:\n", INFO),
    Mutant("info: what was put aside is a problem", "_replication/info",
           "    elif mark.put_aside:\n", "    elif not mark:\n", INFO),
    Mutant("info: an unfinished reseed is a problem", "_replication/info",
           "    elif mark.beside:\n", "    elif not mark:\n", INFO),
    Mutant("info: what is left over is a problem", "_replication/info",
           "    if known is None:\n", "    if known is None and not dataset:\n        pass\n    elif known is None:\n"
           "        problems = []\n    elif known is None:\n", INFO),
    Mutant("info: a base that is held is no problem", "_replication/info",
           " if not point or snap.guid != point.guid]", "]", INFO),
    Mutant("report: a pair that failed fails the task", "_replication/report",
           '        result["failed"] = True\n', "", REPORT),
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
           "if isinstance(Cursor.parse(name.bookmark), Spoilt):", "if not name.bookmark:", GATE),
    Mutant("gate: only our own holds are released", "_gate",
           "if isinstance(hold.parse(tag), Spoilt):", "if not tag:", GATE),
    Mutant("gate: only our own properties are set", "_gate",
           "    if not ours:\n", "    if not name:\n", GATE),
    Mutant("gate: the line is one that we write", "_gate",
           "if not all(commands) or endpoint.line(commands, telling) != line:", "if not all(commands):", GATE),
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
    Mutant("a folder is not a link", "_host/runfiles", "os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC",
           "os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC", RUNFILES),
    Mutant("a folder is its user's alone", "_host/runfiles",
           "if found.st_uid != owner or found.st_mode & 0o022:", "if found.st_uid != owner:", RUNFILES),
    Mutant("only root gives folders", "_host/runfiles",
           "found.st_uid in (0, os.getuid()) and not found.st_mode & 0o022", "found.st_uid in (0, os.getuid())",
           RUNFILES),
    Mutant("no file is a link", "_host/runfiles", "flags | os.O_NOFOLLOW | os.O_NONBLOCK", "flags | os.O_NONBLOCK",
           RUNFILES),
    Mutant("no file has another name elsewhere", "_host/runfiles", " and found.st_nlink <= 1:", ":", RUNFILES),
    Mutant("only a file is one", "_host/runfiles", "if stat.S_ISREG(found.st_mode) and found", "if found", RUNFILES),
    Mutant("no draft follows a link", "_host/runfiles",
           "            self._unlink(self._draft, folder)\n            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | "
           "os.O_NOFOLLOW |", "            flags = os.O_WRONLY | os.O_CREAT |", RUNFILES),
    Mutant("no run file is needed", "_host/runfiles",
           "contextlib.suppress(OSError, Refused), _own() as (_path, folder):\n            self._unlink(self._draft, "
           "folder)\n            flags", "_own() as (_path, folder):\n            flags", RUNFILES),
    Mutant("a run file is not too long", "_host/runfiles", " if len(text) <= MAX_BYTES else None", "", RUNFILES),
    Mutant("a run file is not too deep", "_host/runfiles", "except (ValueError, RecursionError):",
           "except ValueError:", RUNFILES),
    Mutant("values of a run file are of their type", "_host/runfiles",
           " and all(_KEYS[key](value) for key, value in run.items())", "", RUNFILES),
    Mutant("numbers are finite", "_host/runfiles", "0 <= value < 2**63", "value == value", RUNFILES),
    Mutant("texts can be printed", "_host/runfiles", " and value.isprintable()", "", RUNFILES),
    Mutant("a lease is a file of our own", "_host/runfiles",
           "_open_file(self.path, os.O_WRONLY | os.O_CREAT, os.getuid())",
           "os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)", RUNFILES),
    Mutant("a lock does not age", "_host/runfiles", "    os.utime(handle)", "    handle", RUNFILES),
    Mutant("nothing is changed that another run replicates", "_replication/relationship",
           "        if not got:\n", "        if not got and not id_:\n", RELATIONSHIP),
    Mutant("what is changed was read under the lock", "_replication/relationship",
           "plan, now = _plan(options, source, target)", "now = _plan(options, source, target)[1]", RELATIONSHIP),
    Mutant("only one relationship is locked", "_replication/relationship",
           "                if now != id_:\n", "                if now != now:\n", RELATIONSHIP),
    Mutant("nothing ends the renewal of a lease", "../action/zfs_snapshot_replicate",
           "except BaseException as error:  # noqa: PERF203", "except Exception as error:", ACTION),
    Mutant("scripts follow no link", "../action/zfs_snapshot_replicate", """ && [ ! -L "$l" ]""", "", ACTION),
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
