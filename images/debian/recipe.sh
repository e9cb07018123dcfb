#!/bin/sh
# Makes OUT/rootfs: Debian stable with systemd, fit for a container whose network is set up from outside.
set -eu

out=${1:?usage: recipe.sh OUT}
suite=${ROOST_SUITE:-stable}
mirror=${ROOST_MIRROR:-}
tree=$out/tree

umask 022
rm -rf "$tree" "$out/rootfs"

# A machine that lives on a frozen mirror says so in its apt configuration; the same must hold for the new tree.
valid_until=$(apt-config dump --format '%v%n' Acquire::Check-Valid-Until)
check_date=$(apt-config dump --format '%v%n' Acquire::Check-Date)

# shellcheck disable=SC2086 # the mirror is left out when none is named: mmdebstrap then uses Debian's own
mmdebstrap --quiet --mode=root --variant=minbase --format=directory \
    --include=systemd,systemd-sysv,dbus,ca-certificates,iproute2,iputils-ping,netbase,less \
    --aptopt="Acquire::Check-Valid-Until \"${valid_until:-true}\"" \
    --aptopt="Acquire::Check-Date \"${check_date:-true}\"" \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-include=/usr/share/locale/locale.alias' \
    "$suite" "$tree" ${mirror:+"$mirror"}

cd "$tree"

# The node gives the container its name, its addresses and its devices.
units=etc/systemd/system
mask() {
    for unit in "$@"; do
        ln -sf /dev/null "$units/$unit"
    done
}
mask systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service systemd-resolved.service \
    systemd-timesyncd.service systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket \
    systemd-udev-trigger.service systemd-udev-settle.service systemd-modules-load.service systemd-hwdb-update.service \
    systemd-remount-fs.service systemd-firstboot.service systemd-pstore.service systemd-random-seed.service \
    systemd-boot-update.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount proc-sys-fs-binfmt_misc.mount \
    sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount \
    dev-hugepages.mount dev-mqueue.mount getty.target getty@tty1.service serial-getty@.service \
    systemd-ask-password-wall.path systemd-ask-password-console.path e2scrub_reap.service e2scrub_all.timer fstrim.timer \
    apt-daily.timer apt-daily-upgrade.timer
ln -sf /lib/systemd/system/multi-user.target "$units/default.target"
mkdir -p "$units/multi-user.target.wants" "$units/console-getty.service.d"
# A console exists only when someone attached one.
printf '[Unit]\nConditionPathExists=/dev/console\n' >"$units/console-getty.service.d/roost.conf"
ln -sf /lib/systemd/system/console-getty.service "$units/multi-user.target.wants/console-getty.service"

mkdir -p etc/systemd/journald.conf.d
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=4M\n' >etc/systemd/journald.conf.d/roost.conf

# Every instance makes an identity of its own at first start.
: >etc/machine-id
rm -f var/lib/dbus/machine-id
echo debian >etc/hostname
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' >etc/hosts
rm -f etc/resolv.conf etc/mtab
: >etc/resolv.conf
ln -s ../proc/self/mounts etc/mtab

# Nothing that was only needed to make the tree, and nothing that differs from run to run.
rm -rf var/lib/apt/lists/* var/cache/apt/* var/cache/debconf/*-old var/lib/dpkg/*-old var/log/* tmp/* var/tmp/* run/*
# Devices come from the node.
find dev -mindepth 1 -delete
find . -xdev \( -type b -o -type c -o -type p \) -delete

cd "$out"
mkfs.erofs --quiet -zlz4hc,9 -T0 -U 00000000-0000-0000-0000-000000000000 -x-1 rootfs tree >/dev/null
rm -rf tree
