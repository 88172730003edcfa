#!/bin/bash
# Runs a command in a clone of HEAD on a minimal Debian of its own (a chroot:
# no compiler, no Python, no Bazel, empty caches), to see that the workspace
# builds where nothing was installed by hand. Needs root, on Debian; the mirror
# and apt's other settings are this machine's.
#
#   tools/fresh_machine_test.sh                    # ./bazelw test //...
#   tools/fresh_machine_test.sh 'COMMAND'          # in bash, in the clone
#   KEEP=DIR tools/fresh_machine_test.sh 'COMMAND' # keeps the chroot in DIR,
#                                                  # and uses it if it is there
#   RELEASE=trixie tools/fresh_machine_test.sh     # not Debian 12 (bookworm)
set -euo pipefail
[[ -z ${KEEP:-} ]] || KEEP=$(realpath "$KEEP")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command=${1:-./bazelw test //...}
release=${RELEASE:-bookworm}
work=$(mktemp -d)
chroot=${KEEP:-$work/chroot}
trap 'rm -rf --one-file-system "$work"' EXIT

say() { echo "fresh_machine_test: $*" >&2; }

[[ $EUID -eq 0 ]] || { say "needs root" && exit 1; }
command -v debootstrap >/dev/null ||
  apt-get -qq install -y debootstrap >&2

if [[ ! -e $chroot/.made ]]; then
  # shellcheck disable=SC2016  # apt-get expands these
  mirror=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' \
    'Created-By: Packages' |
    awk -F'|' '$1 == "Debian" && $2 == "Debian" && !n++ { print $3 }')
  say "Debian $release from $mirror in $chroot"
  mkdir -p "$chroot"
  debootstrap --variant=minbase "$release" "$chroot" "$mirror" \
    >"$work/debootstrap.log" || { tail "$work/debootstrap.log" >&2 && exit 1; }
  cp -a /etc/apt/apt.conf.d/. "$chroot/etc/apt/apt.conf.d/"
  touch "$chroot/.made"
fi
cp -L /etc/resolv.conf /etc/hosts "$chroot/etc/"

rm -rf "$chroot/root/ulpscope"
git clone -q --no-hardlinks . "$chroot/root/ulpscope"
say "$(git -C "$chroot/root/ulpscope" log -1 --format='%h %s')"

# The command is process 1 of its own: whatever it leaves running ends with it,
# and so do the mounts.
cat >"$work/inside" <<'INSIDE'
set -euo pipefail
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount --rbind /sys "$1/sys"
proxies=()
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
  [[ -z ${!name:-} ]] || proxies+=("$name=${!name}")
done
exec env -i "${proxies[@]}" HOME=/root TERM="${TERM:-dumb}" \
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  chroot "$1" /bin/bash -c 'cd ~/ulpscope && eval "$1"' bash "$2"
INSIDE
say "running: $command"
start=$SECONDS
status=0
unshare --mount --pid --fork --kill-child \
  /bin/bash "$work/inside" "$chroot" "$command" </dev/null || status=$?
say "exit code $status after $((SECONDS - start)) s"
exit "$status"
