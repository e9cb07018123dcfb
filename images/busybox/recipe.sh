#!/bin/sh
# Makes OUT/rootfs: the smallest useful root file system, from Debian's busybox-static. The same program gives the same bytes.
set -eu

out=${1:?usage: recipe.sh OUT}
recipes=$(cd "$(dirname "$0")/.." && pwd)
busybox=${ROOST_BUSYBOX:-/bin/busybox}
tree=$out/tree

umask 022
rm -rf "$tree" "$out/rootfs"
mkdir -p "$tree"
cd "$tree"
sh "$recipes/busybox/tree.sh" "$busybox"

cd "$out"
# Owners, times and the file system's id are fixed, so that the digest depends on the contents alone.
mkfs.erofs --quiet -zlz4hc,12 -T0 -U 00000000-0000-0000-0000-000000000000 -x-1 --all-root rootfs tree >/dev/null
rm -rf tree
