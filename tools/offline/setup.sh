#!/bin/bash
# Prepares a Debian machine that reaches no more than a Debian mirror to build
# this workspace with Debian's own Bazel: puts the tarballs that WORKSPACE
# names into a --distdir and writes user.bazelrc. ./bazelw calls it before
# every run; when there is nothing to do it takes less than 0.1 s. Users with
# internet and an upstream Bazel need none of this.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD
here=$root/tools/offline
cache=${ULPSCOPE_CACHE:-$HOME/.cache/ulpscope}
rc=user.bazelrc
rc_mark='# Written by tools/offline/setup.sh'
# The Debian release whose source packages have the versions of WORKSPACE.
suite=trixie
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# Debian source package | basename of the URL in WORKSPACE | its sha256 |
# retar.py options (the orig tarball has the same files, other tar metadata)
tarballs='
highway|1.2.0.tar.gz|7e0be78b8318e8bdbf6fa545d2ecb4c90f947df03f7aadc42c1967f019e63343|
abseil|abseil-cpp-20240722.0.tar.gz|f50e5ac311a81382da7fa75b97310e4b9006474f9560ac46f54a9967f07d4ae3|--prefix abseil-20240722.0/=abseil-cpp-20240722.0/
googletest|googletest-1.16.0.tar.gz|78c676fc63881529bf97bf9d45948d905a66833fbfa5318ea2cd7478cb98f399|--commit 6910c9d9165801d8827d628cb72eb7ea9dd538c5 --mtime 1738944296
benchmark|v1.9.1.tar.gz|32131c08ee31eeff2c8968d7e874f3cb648034377dfc32a4c377fa8796d84981|
nlohmann-json3|v3.11.3.tar.gz|0d8ef5af7f9794e3263480193c491549b2ba6cc74bb018906202ada498a79406|
libdeflate|v1.23.tar.gz|1ab18349b9fb0ce8a0ca4116bded725be7dcbfa709e19f6f983d99df1fb8b25f|
xxhash|v0.8.3.tar.gz|aae608dfe8213dfd05d909a57718ef82f30722c392344583d3f39050c7f29a80|
'

say() { echo "setup: $*" >&2; }

die() {
  say "$@"
  exit 1
}

has_sha256() { echo "$2  $1" | sha256sum --check --status 2>/dev/null; }

# Debian's own mirror among the sources that apt has lists of. Arguments:
# options for apt-get.
mirror() {
  # shellcheck disable=SC2016  # apt-get expands these
  apt-get "$@" indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' \
    'Created-By: Packages' |
    awk -F'|' '$1 == "Debian" && $2 == "Debian" && !n++ { print $3 }'
}

fetch_tarballs() {
  local line package name sha256 options missing=()
  while IFS='|' read -r package name sha256 options; do
    [[ -z $package ]] || has_sha256 "$cache/$name" "$sha256" ||
      missing+=("$package|$name|$sha256|$options")
  done <<<"$tarballs"
  [[ ${#missing[@]} -gt 0 ]] || return 0
  command -v python3 >/dev/null || die "retar.py needs python3"
  say "fetching ${#missing[@]} source packages of Debian $suite into $cache"

  mkdir -p "$cache"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  # Folders of our own: the system's apt state stays as it is, and no root is
  # needed. Proxies, certificates and credentials still come from its settings.
  mkdir -p "$work"/{lists,archives}/partial "$work/download"
  local private=(-qq -o "Dir::State::Lists=$work/lists"
    -o "Dir::Cache=$work" -o "Dir::Cache::Archives=$work/archives"
    -o "APT::Sandbox::User=$(id -un)"
    -o Acquire::Languages=none -o Acquire::Retries=3)

  local uri
  uri=$(mirror)
  if [[ -z $uri ]]; then # no lists, as in a container image
    apt-get "${private[@]}" update >&2
    uri=$(mirror "${private[@]}")
  fi
  [[ -n $uri ]] || die "no Debian mirror in apt's configuration"
  echo "deb-src [signed-by=$keyring] $uri $suite main" >"$work/sources.list"
  private+=(-o "Dir::Etc::SourceList=$work/sources.list"
    -o Dir::Etc::SourceParts=-)
  apt-get "${private[@]}" update >&2 ||
    die "cannot read the source packages of Debian $suite from $uri"

  local original
  for line in "${missing[@]}"; do
    IFS='|' read -r package name sha256 options <<<"$line"
    (cd "$work/download" &&
      apt-get "${private[@]}" source --download-only --tar-only "$package" >&2)
    original=("$work/download/${package}"_*.orig.tar.gz)
    if [[ -n $options ]]; then
      # shellcheck disable=SC2086  # several words
      python3 "$here/retar.py" "${original[0]}" "$work/$name" $options
    else
      mv "${original[0]}" "$work/$name"
    fi
    has_sha256 "$work/$name" "$sha256" ||
      die "$name: its sha256 is not the one in WORKSPACE"
    # Others may read the cache: a file appears in it whole.
    mv "$work/$name" "$cache/$name.$$"
    mv "$cache/$name.$$" "$cache/$name"
    say "$name"
  done
}

bazelrc() {
  # `bazel --version` of Debian's 4.2.3 says 'no_version', so ask dpkg.
  local version
  version=$(dpkg-query -W -f '${Version}' bazel-bootstrap)
  echo "$rc_mark for bazel-bootstrap $version"

  # Bazel's own helper repositories, as Debian packages them.
  local -A repository=()
  local path name
  for path in /usr/share/bazel/rules/* /usr/share/bazel/tools/*; do
    case $path in
      */tools/platforms) name=platforms ;;
      */tools/*) name=bazel_${path##*/} ;;
      *) name=rules_${path##*/} ;;
    esac
    repository[$name]=$path
  done
  local command commands
  case $version in
    4.*) # Debian's rules_cc is too new for it; `common` takes too few options
      repository[rules_cc]=$here/repos/rules_cc
      repository[remote_coverage_tools]=$here/repos/remote_coverage_tools
      commands=(build query fetch sync)
      ;;
    *)
      commands=(common)
      echo "common --noenable_bzlmod --enable_workspace"
      ;;
  esac
  for command in "${commands[@]}"; do
    echo "$command '--distdir=$cache'"
    for name in "${!repository[@]}"; do
      echo "$command '--override_repository=$name=${repository[$name]}'"
    done | sort
  done

  # A missing deps entry must not silently pick up Debian's older headers.
  for path in \
    /usr/include/{absl,hwy,gtest,gmock,benchmark,nlohmann,libdeflate.h,xxhash.h}; do
    [[ ! -e $path ]] || echo "build --sandbox_block_path=$path"
  done
  # Shared by all clones on this machine: only the first build is cold.
  echo "build '--disk_cache=$cache/disk'"
}

write_bazelrc() {
  local text
  text=$(bazelrc)
  if [[ -e $rc && $(<"$rc") == "$text" ]]; then return; fi
  if [[ -s $rc ]] && ! grep -q "^$rc_mark" "$rc"; then
    die "$root/$rc was written by somebody else: move its lines to" \
      "the .bazelrc of your home folder, delete it and run this again"
  fi
  echo "$text" >"$rc"
  say "wrote $root/$rc"
}

fetch_tarballs
write_bazelrc
