#!/bin/sh
# Makes a BusyBox system in the current directory: the program, its applets, a few files in /etc, an init that needs no
# terminal. What is there already stays.
set -eu

busybox=${1:?usage: tree.sh BUSYBOX}

umask 022
mkdir -p bin sbin usr/bin usr/sbin etc/init.d dev proc sys run root home tmp var/log var/tmp srv mnt
chmod 0700 root
chmod 1777 tmp var/tmp
[ -e var/run ] || ln -s ../run var/run

install -m 0755 "$busybox" bin/busybox
"$busybox" --list-full | sort | while read -r applet; do
    case $applet in
    bin/busybox | linuxrc) continue ;;
    esac
    mkdir -p "${applet%/*}"
    [ -e "$applet" ] || ln -s /bin/busybox "$applet"
done
# Debian leaves these out of its list of links, though the program has them or they are expected.
[ -e sbin/init ] || ln -s /bin/busybox sbin/init

cat >etc/passwd <<'END'
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/srv:/bin/false
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
END
cat >etc/group <<'END'
root:x:0:
daemon:x:1:
tty:x:5:
www-data:x:33:
nogroup:x:65534:
END
printf 'root:*:19000:0:99999:7:::\n' >etc/shadow
chmod 0640 etc/shadow
cat >etc/hosts <<'END'
127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
END
echo busybox >etc/hostname
echo /bin/sh >etc/shells
: >etc/resolv.conf
cat >etc/nsswitch.conf <<'END'
passwd: files
group: files
hosts: files dns
services: files
END
cat >etc/services <<'END'
echo 7/tcp
echo 7/udp
ftp 21/tcp
ssh 22/tcp
telnet 23/tcp
smtp 25/tcp
domain 53/tcp
domain 53/udp
tftp 69/udp
http 80/tcp
ntp 123/udp
https 443/tcp
END
cat >etc/protocols <<'END'
ip 0 IP
icmp 1 ICMP
tcp 6 TCP
udp 17 UDP
ipv6-icmp 58 IPv6-ICMP
END
cat >etc/profile <<'END'
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PS1='\u@\h:\w\$ '
END
cat >etc/os-release <<'END'
ID=busybox
NAME=BusyBox
PRETTY_NAME="BusyBox (Debian busybox-static)"
END

# A container has no virtual consoles: one script at start, an orderly end, and no getty that would fail for want of a terminal.
cat >etc/inittab <<'END'
::sysinit:/etc/init.d/rcS
::askfirst:-/bin/sh
::ctrlaltdel:/sbin/poweroff
::shutdown:/etc/init.d/rcK
END
cat >etc/init.d/rcS <<'END'
#!/bin/sh
# Runs every executable of /etc/rc.d, in order of name.
for script in /etc/rc.d/*; do
    [ -x "$script" ] && "$script" start
done
exit 0
END
cat >etc/init.d/rcK <<'END'
#!/bin/sh
# Ends what rcS started, last first.
for script in $(ls -r /etc/rc.d 2>/dev/null); do
    [ -x "/etc/rc.d/$script" ] && "/etc/rc.d/$script" stop
done
exit 0
END
chmod 0755 etc/init.d/rcS etc/init.d/rcK
mkdir -p etc/rc.d
