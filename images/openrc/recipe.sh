#!/bin/sh
# Makes OUT/rootfs: a system as Alpine Linux has it, of Debian's packages. BusyBox is init and every tool, OpenRC starts services.
set -eu

out=${1:?usage: recipe.sh OUT}
recipes=$(cd "$(dirname "$0")/.." && pwd)
suite=${ROOST_SUITE:-stable}
mirror=${ROOST_MIRROR:-}
packages=$out/packages
tree=$out/tree

umask 022
rm -rf "$packages" "$tree" "$out/rootfs"

# A machine that lives on a frozen mirror says so in its apt configuration; the same must hold here.
valid_until=$(apt-config dump --format '%v%n' Acquire::Check-Valid-Until)
check_date=$(apt-config dump --format '%v%n' Acquire::Check-Date)

# Unpacked only: nothing of these packages has to run to be there.
# shellcheck disable=SC2086 # the mirror is left out when none is named: mmdebstrap then uses Debian's own
mmdebstrap --quiet --mode=root --variant=extract --format=directory \
    --include=openrc,busybox-static \
    --setup-hook='mkdir -p "$1/usr/bin" "$1/usr/sbin" "$1/usr/lib" "$1/usr/lib64"' \
    --setup-hook='for name in bin sbin lib lib64; do ln -s "usr/$name" "$1/$name"; done' \
    --aptopt="Acquire::Check-Valid-Until \"${valid_until:-true}\"" \
    --aptopt="Acquire::Check-Date \"${check_date:-true}\"" \
    "$suite" "$packages" ${mirror:+"$mirror"}

# Of all that: OpenRC, and the libraries without their plug-ins. rc-sstat is for s6, which is not here.
mkdir -p "$tree/etc" "$tree/usr/bin" "$tree/usr/sbin"
cd "$tree"
for name in bin sbin lib lib64; do ln -s "usr/$name" "$name"; done
cp -a "$packages/etc/rc.conf" "$packages/etc/conf.d" "$packages"/etc/insserv* etc/
(cd "$packages" && find usr/lib usr/lib64 -maxdepth 2 -name '*.so.*' -print0 | tar -cf - --null -T -) | tar -xf -
mkdir -p usr/lib64
cp -a "$packages/usr/lib/rc" usr/lib/
cp -a "$packages"/usr/bin/rc-* usr/bin/
cp -a "$packages"/usr/sbin/openrc* "$packages"/usr/sbin/rc-[!s]* "$packages"/usr/sbin/rc-service \
    "$packages"/usr/sbin/supervise-daemon usr/sbin/
sh "$recipes/busybox/tree.sh" "$packages/usr/bin/busybox"
rm -rf "$packages" etc/rc.d etc/init.d/rcS etc/init.d/rcK

# File systems, devices, name and network come from the node, so that no service has to make them.
mkdir -p etc/runlevels/sysinit etc/runlevels/boot etc/runlevels/default etc/runlevels/shutdown etc/local.d
service() { # NAME: the text of its script is read
    cat >"etc/init.d/$1"
    chmod 0755 "etc/init.d/$1"
}
service syslog <<'END'
#!/sbin/openrc-run
description="The system's log: /var/log/messages, 256 KiB and one older file"
supervisor=supervise-daemon
command=/sbin/syslogd
command_args="-n -s 256 -b 1"
depend() {
    provide logger
}
END
service local <<'END'
#!/sbin/openrc-run
description="Runs /etc/local.d/*.start at start and /etc/local.d/*.stop at the end"
depend() {
    after *
}
run() {
    for script in /etc/local.d/*."$1"; do
        [ ! -x "$script" ] || "$script" || ewarn "$script failed"
    done
}
start() {
    run start
}
stop() {
    run stop
}
END
service httpd <<'END'
#!/sbin/openrc-run
description="BusyBox's web server; directory and port are in /etc/conf.d/httpd"
supervisor=supervise-daemon
command=/usr/sbin/httpd
command_args="-f -p ${port:-80} -h ${directory:-/srv}"
depend() {
    need localmount
    use logger
}
END
service localmount <<'END'
#!/sbin/openrc-run
description="Nothing to mount: the node did. Other packages' services need it by this name"
start() {
    return 0
}
END
printf 'port=80\ndirectory=/srv\n' >etc/conf.d/httpd
ln -s /etc/init.d/syslog etc/runlevels/boot/syslog
ln -s /etc/init.d/localmount etc/runlevels/boot/localmount
ln -s /etc/init.d/local etc/runlevels/default/local

cat >etc/inittab <<'END'
::sysinit:/sbin/openrc sysinit
::sysinit:/sbin/openrc boot
::wait:/sbin/openrc default
::askfirst:-/bin/sh
::ctrlaltdel:/sbin/reboot
::shutdown:/sbin/openrc shutdown
END
# BusyBox's shell runs md5sum in its own process, which OpenRC takes for a broken /proc: it would mount another on top.
sed -i -e 's/^mountproc=true$/mountproc=false/' -e 's|^f=/proc/self/environ$|f=/none|' usr/lib/rc/sh/init.sh
# Whom OpenRC gives its lock directory to, and the file it looks for mounts in.
echo 'uucp:x:10:' >>etc/group
: >etc/fstab
echo openrc >etc/hostname
cat >etc/os-release <<'END'
ID=openrc
NAME=OpenRC
PRETTY_NAME="BusyBox and OpenRC (Debian's packages)"
END

cd "$out"
mkfs.erofs --quiet -zlz4hc,12 -T0 -U 00000000-0000-0000-0000-000000000000 -x-1 --all-root rootfs tree >/dev/null
rm -rf tree
