#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds and tests this checkout on AArch64 where there is none: in a Debian root of its own under build/aarch64, run by
# qemu-user. Needs root, Debian or Ubuntu, Linux 6.7 or later, and the network; it installs nothing on this machine.
# Usage: run.sh [slice|whole|demo]. See inside.sh for what they are, README.md for how long they take.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
place=$checkout/build/aarch64
root=$place/root
what=${1:-slice}
suite=bookworm
mirror=${MIRROR:-http://deb.debian.org/debian}
packages=python3,python3-venv,python3-dev,gcc,libc6-dev,make,ccache

say() { printf 'aarch64: %s\n' "$*"; }
die() { say "$*" >&2; exit 2; }

[[ $what == slice || $what == whole || $what == demo ]] || die "'$what' is not one of slice, whole, demo"
[[ $(id -u) == 0 ]] || die "making and entering the root needs root: sudo make aarch64"
[[ -f /etc/ssl/certs/ca-certificates.crt ]] || die "this machine has no list of certificates: apt install ca-certificates"
command -v apt-get >/dev/null || die "this machine has no apt-get; on Debian, Ubuntu or Raspberry Pi OS it works"

# the emulator and debootstrap, unpacked beside the root and not installed
tools=$place/tools
fetch_tools() {
  mkdir -p "$tools"
  say "fetching qemu-user-static and debootstrap"
  (cd "$tools" && apt-get download -qq qemu-user-static debootstrap 2>/dev/null) ||
    die "apt-get download qemu-user-static debootstrap failed: apt-get update, and try again"
  for package in "$tools"/*.deb; do dpkg-deb --extract "$package" "$tools/unpacked"; done
  mv "$tools/unpacked/usr" "$tools/usr"
  rm -rf "$tools"/unpacked "$tools"/*.deb
}

# A user namespace has a binfmt_misc of its own since Linux 6.7: that this root's programs go to qemu is known in there alone.
inside() {
  local go=$place/go
  rm -f "$go"
  mkfifo "$go"
  unshare --user --mount --propagation private bash -c '
    set -eu
    root=$1 qemu=$2 go=$3; shift 3
    read -r _ <"$go"
    mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
    magic="\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    mask="\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
    printf %s ":qemu-aarch64:M::$magic:$mask:$qemu:F" >/proc/sys/fs/binfmt_misc/register
    mount --rbind /dev "$root/dev"
    mount --rbind /proc "$root/proc"
    exec chroot "$root" "$@"' bash "$root" "$tools/usr/bin/qemu-aarch64-static" "$go" "$@" &
  local process=$!
  trap 'kill "$process" 2>/dev/null || true' INT TERM
  local mine
  mine=$(readlink /proc/self/ns/user)
  for _ in $(seq 200); do
    [[ $(readlink "/proc/$process/ns/user") != "$mine" ]] && break
    sleep 0.05
  done
  echo "0 0 65536" >"/proc/$process/uid_map"
  echo "0 0 65536" >"/proc/$process/gid_map"
  echo >"$go"
  rm -f "$go"
  wait "$process"
}

make_root() {
  say "making a root of Debian $suite for arm64 (6 minutes; more on a busy machine)"
  rm -rf "$root"
  mkdir -p "$root"
  DEBOOTSTRAP_DIR=$tools/usr/share/debootstrap "$tools/usr/sbin/debootstrap" --foreign --arch=arm64 --variant=minbase \
    --include="$packages" "$suite" "$root" "$mirror" >"$place/debootstrap.log"
  # it must not try to make devices, which a namespace may not: those of this machine are bound there
  inside /usr/bin/env container=lxc /debootstrap/debootstrap --second-stage >>"$place/debootstrap.log" ||
    die "the second stage of debootstrap failed: see $place/debootstrap.log"
  touch "$place/.root"
}

copy_checkout() {
  cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
  # this machine's: to configure the package takes an emulator many minutes
  mkdir -p "$root/etc/ssl/certs"
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  mkdir -p "$root/joulet/build"
  local listed=$root/joulet/build/checkout.list now=$place/checkout.list
  (cd "$checkout" && git ls-files -z --cached --others --exclude-standard) | LC_ALL=C sort -z >"$now"
  # what has gone from the checkout goes from the root
  [[ ! -f $listed ]] || LC_ALL=C comm -z -23 "$listed" "$now" | (cd "$root/joulet" && xargs -0 -r rm -f --)
  (cd "$checkout" && tar --create --null --files-from="$now" --ignore-failed-read) | tar --extract --directory "$root/joulet"
  mv "$now" "$listed"
  TREE=$(git -C "$checkout" rev-parse 'HEAD^{tree}')
  [[ -z $(git -C "$checkout" status --porcelain) ]] || TREE+=", changed"
}

# pip under an emulator takes half an hour to unpack what this machine's pip does in one minute
unpack_wheels() {
  local python=python3
  [[ ! -x $checkout/.venv/bin/python ]] || python=$checkout/.venv/bin/python
  say "unpacking the environment's wheels"
  "$python" "$checkout/tests/aarch64/wheels.py" "$root/joulet/.venv" 3.11 36 2>"$place/wheels.log" ||
    say "that failed ($place/wheels.log): pip in the root does it, for some 25 minutes"
}

mkdir -p "$place"
[[ -x $tools/usr/bin/qemu-aarch64-static && -x $tools/usr/sbin/debootstrap ]] || fetch_tools
[[ -f $place/.root ]] || make_root
copy_checkout
[[ -d $root/joulet/.venv ]] || unpack_wheels
passed=()
for name in JOBS TREE http_proxy https_proxy no_proxy PIP_INDEX_URL PIP_DEFAULT_TIMEOUT; do
  [[ -z ${!name:-} ]] || passed+=("$name=${!name}")
done
began=$(date +%s)
code=0
inside /usr/bin/env -i HOME=/root LANG=C.UTF-8 PATH=/usr/lib/ccache:/usr/sbin:/usr/bin:/sbin:/bin "${passed[@]}" \
  PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_NO_COMPILE=0 /bin/bash /joulet/tests/aarch64/inside.sh "$what" || code=$?
minutes=$((($(date +%s) - began + 59) / 60))
[[ ! -f $root/joulet/build/suite/results.tsv ]] || cp "$root/joulet/build/suite/results.tsv" "$place/"
if ((code)); then say "$what failed with exit code $code after $minutes minutes of qemu-user" >&2; exit "$code"; fi
say "$what passed on $minutes minutes of qemu-user"
