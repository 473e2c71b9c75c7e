# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Sphinx makes the site (`make docs`). antsibull-docs writes the pages of the plugins and the index."""

from __future__ import annotations

from typing import Any

from docutils import nodes

project = "cerss.zfs"
copyright = f"2026, {project} contributors"
html_title = f"{project}: ZFS snapshots as full objects"
extensions = ["sphinx_antsibull_ext", "myst_parser"]
html_theme = "sphinx_ansible_theme"
pygments_style = "ansible"
highlight_language = "YAML+Jinja"
html_show_sphinx = html_use_index = html_copy_source = False
nitpicky = True
suppress_warnings = ["toc.no_title"]  # the changelog has no title before the first release

# Labels of Ansible's own documentation that antsibull-docs refers to. Asking intersphinx would need the network.
ANSIBLE = "https://docs.ansible.com/projects/ansible/latest"
ELSEWHERE = {
    "action_plugins": f"{ANSIBLE}/plugins/action.html",
    "ansible_configuration_settings": f"{ANSIBLE}/reference_appendices/config.html",
    "common_return_values": f"{ANSIBLE}/reference_appendices/common_return_values.html",
}
# The index has the pages of docs/docsite/rst by extra-docs.yml, which takes no Markdown.
MARKDOWN = """
.. toctree::
    :caption: How it is built
    :maxdepth: 1

    docsite/security
    docsite/architecture
"""


def add_markdown(_app: object, name: str, source: list[str]) -> None:
    if name == "index":
        source[0] += MARKDOWN


def find_elsewhere(_app: object, _env: object, node: Any, content: nodes.Node) -> nodes.Node | None:
    place = ELSEWHERE.get(node["reftarget"])
    return nodes.reference("", "", content, refuri=place) if place else None


def setup(app: Any) -> None:
    app.connect("source-read", add_markdown)
    app.connect("missing-reference", find_elsewhere)
