#!/bin/sh
# Copyright (c) 2026, cerss.zfs contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The guest, from Debian packages to a disk: recipe.sh DIR SUITE ZFS_SUITE MIRROR [mmdebstrap option ...]
# Leaves DIR/root.ext4, DIR/vmlinuz, DIR/initrd and DIR/version. The image's name in the cache is a hash of this file.
# DIR/modules holds what was compiled earlier, a folder per kernel and ZFS version; a new one is added to it.
# Lines that begin with "::" tell the caller which step runs.
set -eu
dir=$1 suite=$2 zfs_suite=$3 mirror=$4
shift 4

# python3 and sudo for Ansible, acl for becoming a plain user, the others for what the collection pipes streams through.
guest="systemd-sysv,udev,initramfs-tools,kmod,procps,iproute2,openssh-server,sudo,acl,python3,mbuffer,pv,zstd,lz4"

# As root the tree is simply ours. A plain user gets it through a user namespace, and reaches it only through that.
if [ "$(id -u)" = 0 ]; then mode=root inside=''; else mode=unshare inside='mmdebstrap --unshare-helper'; fi
trap '$inside rm -rf --one-file-system "$dir/tree"' EXIT
trap 'exit 143' HUP INT TERM

cat > "$dir/before" <<'BEFORE'
# Nothing starts while packages are installed, and the initrd holds only what finds the root disk and the network.
printf '#!/bin/sh\nexit 101\n' > "$1/usr/sbin/policy-rc.d"
chmod 755 "$1/usr/sbin/policy-rc.d"
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
printf 'MODULES=list\nCOMPRESS=zstd\n' > "$1/etc/initramfs-tools/conf.d/lab"
printf 'virtio_pci\nvirtio_blk\nvirtio_net\next4\n' > "$1/usr/share/initramfs-tools/modules.d/lab"
BEFORE

cat > "$dir/guest" <<'GUEST'
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
cat > /etc/modprobe.d/lab.conf <<'EOC'
# A small cache leaves room for the pools' own work. One second instead of five between transaction groups: what only
# shows after a group (the bytes in a receive token, freed space) shows sooner, and tests wait less.
options zfs zfs_arc_max=268435456 zfs_txg_timeout=1
# Virtual hardware that nothing here uses, and whose drivers take seconds to load.
blacklist kvm_amd
blacklist kvm_intel
blacklist ahci
blacklist evdev
blacklist serio_raw
EOC
echo zfs > /etc/modules-load.d/lab.conf

cat > /etc/ssh/sshd_config.d/lab.conf <<'EOC'
# Many connections at once. A key exchange that is fast without special instructions of the processor, and
# no PAM session: 0.7 s less each.
UseDNS no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
MaxSessions 200
MaxStartups 200
PrintMotd no
KexAlgorithms ecdh-sha2-nistp256
HostKey /etc/ssh/ssh_host_ed25519_key
EOC
rm -f /etc/ssh/ssh_host_* /etc/update-motd.d/*

useradd --create-home --gid operator --shell /bin/bash operator
usermod --password '*' operator          # without PAM a locked account ("!") may not log in with a key either
usermod --password '*' root
echo 'operator ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/operator
chmod 440 /etc/sudoers.d/operator

# The machine's own things (its name, keys, address) come on a small read-only disk that holds a tar archive.
cat > /usr/local/sbin/lab-identity <<'EOC'
#!/bin/sh
until disk=$(grep -lx identity /sys/block/*/serial); do sleep 0.1; done
disk=${disk%/serial}
[ -e /etc/lab-machine ] || tar -xpf "/dev/${disk##*/}" -C /
. /etc/lab-machine
echo "$name" > /proc/sys/kernel/hostname
for link in "lo 127.0.0.1/8" "eth0 10.0.2.15/24" "eth1 $address/24"; do
    ip link set "${link% *}" up
    ip address replace "${link#* }" dev "${link% *}"
done
EOC
chmod 755 /usr/local/sbin/lab-identity
cat > /etc/systemd/system/lab-identity.service <<'EOC'
[Unit]
Description=Name, keys and address of this machine
DefaultDependencies=no
After=systemd-remount-fs.service systemd-udev-trigger.service
Before=ssh.service sysinit.target
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/lab-identity
RemainAfterExit=yes
[Install]
WantedBy=sysinit.target
EOC
systemctl -q enable lab-identity.service ssh.service
systemctl -q set-default multi-user.target
systemctl -q mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer systemd-tmpfiles-clean.timer getty@tty1.service serial-getty@ttyS0.service getty-static.service \
    systemd-pstore.service zfs-share.service zfs-volume-wait.service systemd-binfmt.service \
    systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-random-seed.service networking.service \
    remote-fs.target systemd-hwdb-update.service ldconfig.service systemd-journal-flush.service \
    dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
    sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount modprobe@drm.service modprobe@fuse.service \
    modprobe@configfs.service
# A generator for ssh over vsock, which these machines do not have.
mkdir -p /etc/systemd/system-generators
ln -s /dev/null /etc/systemd/system-generators/systemd-ssh-generator
mkdir -p /etc/systemd/journald.conf.d /etc/systemd/system.conf.d
# On a busy machine the emulated guest is slow: no reason to give up.
printf '[Manager]\nDefaultTimeoutStartSec=600\nDefaultDeviceTimeoutSec=600\n' > /etc/systemd/system.conf.d/lab.conf
for unit in systemd-modules-load systemd-udev-settle systemd-udev-trigger; do
    mkdir -p "/etc/systemd/system/$unit.service.d"
    printf '[Service]\nTimeoutStartSec=600\n' > "/etc/systemd/system/$unit.service.d/lab.conf"
done
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\n' > /etc/systemd/journald.conf.d/lab.conf
echo 'LABEL=root / ext4 noatime 0 1' > /etc/fstab
echo lab > /etc/hostname
: > /etc/machine-id

if [ "$zfs_suite" != "$suite" ]; then
    echo "deb $mirror $zfs_suite main contrib" > /etc/apt/sources.list.d/zfs.list
    apt-get update -q
fi
install="apt-get install -qy --no-install-recommends -t $zfs_suite"
$install zfsutils-linux
dpkg-query -W -f '${Version}\n' zfsutils-linux > /etc/lab-zfs-version
kernel=$(cd /lib/modules && ls -d *-cloud-amd64)
modules=/modules/$kernel-zfs-$(cat /etc/lab-zfs-version)
if ! [ -d "$modules" ]; then
    echo ":: compiling the ZFS kernel module"
    apt-get install -qy --no-install-recommends linux-headers-cloud-amd64 linux-libc-dev libc6-dev
    $install zfs-dkms
    mkdir "$modules"
    find "/lib/modules/$kernel/updates" -name '*.ko*' -exec cp {} "$modules" ';'
    find "$modules" -name '*.xz' -exec unxz {} ';'  # the guest's processor is slow
    # By name, since apt keeps a kernel's headers on its own account; and with them the compiler and all that came along.
    headers=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 'linux-headers-*' | sed -n 's/^installed //p')
    apt-get purge -qy --auto-remove -o APT::AutoRemove::RecommendsImportant=false \
        -o APT::AutoRemove::SuggestsImportant=false zfs-dkms linux-libc-dev libc6-dev $headers
fi
mkdir -p "/lib/modules/$kernel/updates"
cp "$modules"/*.ko "/lib/modules/$kernel/updates/"
depmod "$kernel"
rm -f /usr/sbin/policy-rc.d
update-initramfs -u -k "$kernel"
touch /etc/.updated /var/.updated  # nothing to catch up on at the first boot
GUEST

echo ":: fetching and unpacking packages"
mmdebstrap --mode="$mode" --variant=minbase --format=directory --components=main,contrib \
    --include="linux-image-cloud-amd64,$guest" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='force-unsafe-io' \
    --aptopt='APT::Install-Recommends "false"' "$@" \
    --essential-hook="sh '$dir/before' \"\$1\"" \
    --customize-hook="cp -r '$dir/modules' \"\$1/modules\"" \
    --customize-hook="chroot \"\$1\" env suite='$suite' zfs_suite='$zfs_suite' mirror='$mirror' sh -s < '$dir/guest'" \
    --customize-hook="cp -rn \"\$1/modules/.\" '$dir/modules' && rm -r \"\$1/modules\"" \
    "$suite" "$dir/tree" "$mirror"

echo ":: making the disk"
# shellcheck disable=SC2016  # the inner shell expands it
$inside sh -c 'cat "$1"/boot/vmlinuz-* > "$2/vmlinuz"; cat "$1"/boot/initrd.img-* > "$2/initrd"
    cat "$1/etc/lab-zfs-version" > "$2/version"; rm -rf "$1"/boot/*
    mke2fs -q -t ext4 -L root -m 0 -d "$1" "$2/root.ext4" 4G' sh "$dir/tree" "$dir"
