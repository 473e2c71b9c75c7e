#!/bin/sh
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Run after a machine was put back to its saved state. ZFS draws GUIDs from random numbers of its own, which lie in that
# state: without loading it anew the machine would give the GUIDs again that it gave before.
zpool destroy tank
zpool destroy backup
# In this order: what zfs used goes with it, but 2.1 leaves zcommon, and with that spl, behind.
for module in zfs zcommon spl; do
  if [ -d "/sys/module/$module" ]; then modprobe -r "$module"; fi
done
modprobe zfs
make_pools
