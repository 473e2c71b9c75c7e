#!/bin/sh
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Run once, before the machine's state is saved.
make_pools
# What cases use lies in the page cache of the saved state.
python3 -c 'import json, subprocess, argparse, tempfile, shutil, platform, selectors' && zfs list > /dev/null && sudo true
sync
