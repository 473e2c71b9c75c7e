# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation shows is true: its examples fit the modules and roles, and the code says its messages."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common import validation
from ansible.playbook.block import Block
from ansible.playbook.play import Play
from ansible.playbook.task import Task

ROOT = Path(__file__).parents[2]
UTILS = ROOT / "plugins" / "module_utils"
PAGES = sorted(
    path for glob in ("*.md", "docs/*.md", "docs/docsite/rst/*.rst", "roles/*/README.md") for path in ROOT.glob(glob)
)
FENCED = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
DIRECTIVE = re.compile(r"^( *)\.\. code-block:: (\w+)\n(?:\1 +:\w+: .*\n)*\n((?:\1 +.*\n|\n)+)", re.MULTILINE)
Spec = Mapping[str, Any]


def blocks(path: Path) -> list[tuple[str, str]]:
    """(language, text) of each code block of a page."""
    found = (DIRECTIVE if path.suffix == ".rst" else FENCED).findall(path.read_text() + "\n")
    return [(language, textwrap.dedent(text)) for _indent, language, text in found]


def constant(path: Path, name: str) -> str:
    """A text that a module assigns at its top."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return str(ast.literal_eval(node.value))
    raise AssertionError(f"{path} has no {name}")


def examples() -> Iterator[tuple[str, str]]:
    """(where it stands, YAML) of every example, of the playbooks, and of the role with the longest tasks."""
    for path in PAGES:
        for number, (language, text) in enumerate(blocks(path), 1):
            if language == "yaml":
                yield f"{path.relative_to(ROOT)} {number}", text
    for path in sorted(ROOT.glob("plugins/modules/*.py")):
        yield path.stem, constant(path, "EXAMPLES")
    for path in sorted(ROOT.glob("plugins/filter/*.yml")):
        yield path.stem, yaml.safe_load(path.read_text())["EXAMPLES"]
    for glob in ("playbooks/*.yml", "roles/zfs_jobs/tasks/*.yml", "scripts/demo/*.yml"):
        for path in sorted(ROOT.glob(glob)):
            yield str(path.relative_to(ROOT)), path.read_text()


@cache
def module_options(name: str) -> Spec:
    """The options in a module's documentation, with those of its fragments."""
    documentation = yaml.safe_load(constant(ROOT / "plugins" / "modules" / f"{name}.py", "DOCUMENTATION"))
    options = dict(documentation.get("options") or {})
    for fragment in documentation.get("extends_documentation_fragment", []):
        file, _dot, part = fragment[len("cerss.zfs.") :].partition(".")
        holder = importlib.import_module(f"ansible_collections.cerss.zfs.plugins.doc_fragments.{file}")
        text = getattr(holder.ModuleDocFragment, part.upper() or "DOCUMENTATION")
        options.update(yaml.safe_load(text).get("options") or {})
    return options


@cache
def builtin_options(name: str) -> Spec | None:
    """The options of a module of ansible-core; None when there is no such module."""
    found = importlib.util.find_spec(f"ansible.modules.{name}")
    if found is None or found.origin is None:
        return None
    options: dict[str, Any] = yaml.safe_load(constant(Path(found.origin), "DOCUMENTATION"))["options"]
    return options


@cache
def roles() -> Mapping[str, Spec]:
    return {
        path.parents[1].name: yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
        for path in ROOT.glob("roles/*/meta/argument_specs.yml")
    }


def wrong(value: Any, option: Spec, where: str) -> Iterator[str]:
    """What is the matter with the value of an option. What a template makes of it nobody knows."""
    if value is None or (isinstance(value, str) and "{{" in value):
        return
    kind = option.get("type", "str")
    try:
        value = getattr(validation, f"check_type_{kind}")(value)
    except (TypeError, ValueError) as error:
        yield f"{where}: {error}"
        return
    inner = option.get("suboptions") or option.get("options")
    if kind == "list":
        for item in value:
            yield from wrong(item, {**option, "type": option.get("elements", "raw")}, where)
    elif isinstance(value, dict) and inner:
        yield from complaints(value, inner, where)
    elif option.get("choices") and value not in option["choices"]:
        yield f"{where}: {value!r} is none of {option['choices']}"


def complaints(given: Mapping[str, Any], options: Spec, where: str) -> Iterator[str]:
    """What is the matter with some options or variables."""
    for name in sorted(given.keys() - options.keys()):
        yield f"{where} has no option {name}"
    for name, option in options.items():
        if name in given:
            yield from wrong(given[name], option, f"{where}.{name}")
        elif option.get("required"):
            yield f"{where} lacks {name}"


def variables(given: Mapping[str, Any] | None) -> Iterator[str]:
    """What is the matter with variables, as far as they are some role's."""
    for name, value in (given or {}).items():
        for role, options in roles().items():
            if name.startswith(f"{role}_"):
                yield from complaints({name: value}, {name: options[name]} if name in options else {}, role)


def plays_or_tasks(items: list[dict[str, Any]]) -> Iterator[str]:
    for item in items:
        if "import_playbook" in item:
            name = str(item["import_playbook"]).rpartition("cerss.zfs.")[2]
            if not (ROOT / "playbooks" / f"{name}.yml").exists():
                yield f"there is no playbook {name}"
        elif "hosts" in item:
            yield from (f"a play has no {key}" for key in sorted(item.keys() - Play.fattributes.keys()))
            yield from variables(item.get("vars"))
            for entry in item.get("roles", []):
                yield from role(entry, item.get("vars") or {})
            for part in ("pre_tasks", "tasks", "post_tasks", "handlers"):
                yield from plays_or_tasks(item.get(part) or [])
        elif "block" in item:
            yield from (f"a block has no {key}" for key in sorted(item.keys() - Block.fattributes.keys()))
            yield from variables(item.get("vars"))
            for part in ("block", "rescue", "always"):
                yield from plays_or_tasks(item.get(part) or [])
        else:
            yield from task(item)


def role(entry: Any, around: Mapping[str, Any]) -> Iterator[str]:
    name = str(entry if isinstance(entry, str) else entry.get("role", entry.get("name")))
    given = {} if isinstance(entry, str) else entry.get("vars") or {}
    options = roles().get(name.rpartition("cerss.zfs.")[2])
    if options is None:
        yield f"there is no role {name}"
        return
    yield from complaints({**{key: around[key] for key in around if key in options}, **given}, options, name)


def task(item: Mapping[str, Any]) -> Iterator[str]:
    actions = [key for key in item if key not in Task.fattributes and not key.startswith("with_")]
    yield from variables(item.get("vars"))
    if len(actions) != 1:
        yield f"{item.get('name')}: {' and '.join(actions) or 'nothing'} instead of one action"
        return
    action, given = actions[0], item[actions[0]] or {}
    owner, _dot, name = action.rpartition(".")
    where = f"{item.get('name')}: {name}"
    if owner == "cerss.zfs" and (ROOT / "plugins" / "modules" / f"{name}.py").exists():
        yield from complaints(given, module_options(name), where)
    elif owner == "ansible.builtin" and (options := builtin_options(name)) is not None:
        if isinstance(given, dict) and name != "set_fact":
            yield from (f"{where} has no option {key}" for key in sorted(given.keys() - options.keys()))
    else:
        yield f"{where}: there is no module {action}"


def problems(text: str) -> list[str]:
    """What is wrong with an example: plays, tasks, or a file of variables or hosts."""
    content = yaml.safe_load(text)
    if isinstance(content, list):
        return list(plays_or_tasks(content))
    hosts = (content.get("all") or {}).get("hosts") or {}
    return [problem for given in (content, *hosts.values()) for problem in variables(given)]


@pytest.mark.parametrize(("where", "text"), list(examples()))
def test_example(where: str, text: str) -> None:
    assert problems(text) == [], where


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_no_block_is_overlooked(path: Path) -> None:
    assert len(blocks(path)) == len(re.findall(r"^ *(?:\.\. code-block::|```\w)", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[{cerss.zfs.zfs_clone: {name: tank/c, snapshots: tank/v@s}}]", "no option snapshots"),
        ("[{cerss.zfs.zfs_clone: {snapshot: tank/v@s}}]", "lacks name"),
        ("[{cerss.zfs.zfs_clones: {name: tank/c}}]", "no module"),
        ("[{cerss.zfs.zfs_dataset: {name: tank/c, state: here}}]", "none of"),
        ("[{cerss.zfs.zfs_dataset: {name: tank/c, mounted: perhaps}}]", "perhaps"),
        ("[{cerss.zfs.zfs_snapshot_info: {states: [full, gone]}}]", "none of"),
        ("[{cerss.zfs.zfs_snapshot_prune: {name: tank, match: a, keep: {daily: few}}}]", "keep.daily"),
        ("[{cerss.zfs.zfs_snapshot_replicate: {name: a/b, target: {hosts: b}}}]", "target has no option hosts"),
        ("[{cerss.zfs.zfs_dataset: {name: tank/c}, loops: [1]}]", "instead of one action"),
        ("[{ansible.builtin.debug: {message: hello}}]", "no option message"),
        ("[{hosts: all, become_users: root}]", "no become_users"),
        ("[{hosts: all, tasks: [{block: [{cerss.zfs.zfs_dataset: {}}]}]}]", "lacks name"),
        ("[{hosts: all, roles: [cerss.zfs.zfs_mirror]}]", "no role"),
        ("[{hosts: all, roles: [cerss.zfs.zfs_peer]}]", "lacks zfs_peer_host"),
        ("[{hosts: all, vars: {zfs_replicate_host: b}}]", "no option zfs_replicate_host"),
        ("[{import_playbook: cerss.zfs.mirror}]", "no playbook"),
        ("{zfs_replicate_raw: sometimes}", "none of"),
        ("{all: {hosts: {a: {zfs_replicate_raw: sometimes}}}}", "none of"),
    ],
)
def test_a_mistake_is_found(text: str, complaint: str) -> None:
    assert any(complaint in problem for problem in problems(text)), problems(text)


def commands() -> Iterator[tuple[str, str]]:
    """(where, VARIABLE=VALUE) of each -e in the examples of command lines."""
    for path in PAGES:
        for language, text in blocks(path):
            words = shlex.split(text, comments=True) if language in ("console", "shell") else []
            for before, word in zip(words, words[1:]):
                if before == "-e":
                    yield str(path.relative_to(ROOT)), word


@pytest.mark.parametrize(("where", "word"), list(commands()))
def test_variable_on_a_command_line(where: str, word: str) -> None:
    name, _equals, value = word.partition("=")
    assert list(variables({name: value})) == [], where


@cache
def sentences() -> list[str]:
    """All texts in the code, with … for what is filled in."""
    found = []
    for path in UTILS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values]
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def is_said(message: str) -> bool:
    fixed = message.strip("… ")
    return len(fixed) > 10 and any(fixed in sentence for sentence in sentences())


def test_messages() -> None:
    page = (ROOT / "docs" / "docsite" / "rst" / "troubleshooting.rst").read_text()
    messages = re.findall(r"^``(.+)``$", page, re.MULTILINE)
    assert len(messages) > 40
    assert [message for message in messages if not is_said(message)] == []
    assert not is_said("… is replicated by nobody since …")


def test_readme_lists_what_the_collection_contains() -> None:
    rows = re.findall(r"^\| (\w+) \| `(\w+)` \| \S.* \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    globs = {"module": "plugins/modules/*.py", "filter": "plugins/filter/*.yml", "role": "roles/*"}
    globs["playbook"] = "playbooks/*.yml"
    assert sorted(rows) == sorted((kind, path.stem) for kind, glob in globs.items() for path in ROOT.glob(glob))


@pytest.mark.parametrize(
    ("role", "module"), [("zfs_replicate", "zfs_snapshot_replicate"), ("zfs_prune", "zfs_snapshot_prune")]
)
def test_a_flat_role_has_variables_for_all_options(role: str, module: str) -> None:
    """But for those that jobs need. Each is documented, has a default, and is handed over by the task."""
    folder = ROOT / "roles" / role
    variables = {name[len(role) + 1 :] for name in roles()[role]}
    assert {f"{role}_{name}" for name in variables} == {*yaml.safe_load((folder / "defaults" / "main.yml").read_text())}
    texts = "".join(path.read_text() for path in [*folder.glob("tasks/*.yml"), *folder.glob("vars/*.yml")])
    assert [name for name in variables if not re.search(rf"{role}_{name}\b", texts)] == []
    options = module_options(module)
    flat = {f"{name}_{part}" for name, option in options.items() for part in option.get("suboptions") or ()}
    flat |= {name for name, option in options.items() if not option.get("suboptions") or name == "targets"}
    flat -= {"job", "upcoming", *(f"target_{name}" for name in options)}
    of_the_role = {name for name in variables if name.startswith("trust")}
    assert variables == {name for name in flat if not name.startswith("targets_")} | of_the_role


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_links_to_files_of_the_repository_lead_somewhere(path: Path) -> None:
    linked = re.findall(r"cerss/cerss\.zfs/(?:blob|raw)/main/([\w./-]+)", path.read_text())
    assert [name for name in linked if not (ROOT / name).exists()] == []


def test_paths_and_functions_in_the_architecture_exist() -> None:
    text = (ROOT / "docs" / "docsite" / "rst" / "architecture.rst").read_text()
    names = [name for name in re.findall(r"(?:``|\|)([\w./]+)(?:``|\|)", text) if "/" in name or name.endswith(".py")]
    assert len(names) > 40
    assert [name for name in names if not any((top / name).exists() for top in (ROOT, UTILS))] == []
    functions = re.findall(r"``(\w+/\w+\.py)``, ``(\w+)``", text)
    functions += [(file, name) for name, file in re.findall(r"``(\w+)`` in\s+``(\w+/\w+\.py)``", text)]
    assert len(functions) > 5
    assert [found for found in functions if not re.search(rf"\b{found[1]}\b", (UTILS / found[0]).read_text())] == []
