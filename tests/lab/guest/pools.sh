#!/bin/sh
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Goes before the two others. Pools as every case finds them; vdd stays free.
set -eu
make_pool() {
    # A partition that zpool made earlier is taken again: partitioning anew takes a second more. On a busy machine zpool
    # loses patience with udev after it has partitioned, hence the second attempt.
    for disk in "/dev/${2}1" "/dev/$2" "/dev/${2}1"; do
        [ -b "$disk" ] && zpool create -f "$1" "$disk" && return
    done
    return 1
}
make_pools() {
    make_pool tank vdb &
    tank=$!
    make_pool backup vdc
    wait "$tank"
}
