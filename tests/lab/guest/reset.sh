#!/bin/sh
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Run between cases.
# Left over from an earlier case: the streams, and whatever still works inside a pool.
stop() { [ $# = 0 ] || kill -9 "$@" 2> /dev/null || true; }
for process in /proc/[0-9]*; do  # as pgrep, which takes two seconds for it on a busy machine
    read -r command 2> /dev/null < "$process/comm" || continue
    case $command in zfs | mbuffer | pv) stop "${process#/proc/}" ;; esac
done
for pool in $(zpool list -H -o name); do
    for _try in 1 2 3 4 5 6 7 8 9 10; do
        zpool destroy -f "$pool" 2> /dev/null && break
        # Still busy: with somebody's open file or working directory, or with a snapshot mounted by hand.
        # shellcheck disable=SC2046  # a list of numbers
        stop $(find /proc/[0-9]*/cwd /proc/[0-9]*/fd -lname "/$pool*" 2> /dev/null | cut -d/ -f3 | sort -u)
        awk -v pool="$pool" '$3 == "zfs" && $1 ~ "^" pool "[/@]" { print $2 }' /proc/mounts | tac |
            xargs -r -n 1 umount 2> /dev/null || true  # the next round tries again
        sleep 0.2
    done &
done
wait
rm -rf /run/cerss.zfs /tmp/* /root/.ansible /root/.ansible_async /home/operator/.ansible
make_pools
