#!/bin/bash
# Prepares a Debian machine that reaches no more than a Debian mirror to build
# this workspace with Debian's own Bazel: puts the tarballs that WORKSPACE
# names into a --distdir and writes user.bazelrc. Users with internet and an
# upstream Bazel need none of this.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
here=tools/offline
work=
cache=${ULPSCOPE_CACHE:-$HOME/.cache/ulpscope}
suite=trixie

# Debian source package | GitHub's basename | GitHub's sha256 | retar.py options
# (retar: the orig tarball has the same files under other tar metadata.)
deps='
highway|1.2.0.tar.gz|7e0be78b8318e8bdbf6fa545d2ecb4c90f947df03f7aadc42c1967f019e63343|
abseil|abseil-cpp-20240722.0.tar.gz|f50e5ac311a81382da7fa75b97310e4b9006474f9560ac46f54a9967f07d4ae3|--prefix abseil-20240722.0/=abseil-cpp-20240722.0/
googletest|googletest-1.16.0.tar.gz|78c676fc63881529bf97bf9d45948d905a66833fbfa5318ea2cd7478cb98f399|--commit 6910c9d9165801d8827d628cb72eb7ea9dd538c5 --mtime 1738944296
benchmark|v1.9.1.tar.gz|32131c08ee31eeff2c8968d7e874f3cb648034377dfc32a4c377fa8796d84981|
nlohmann-json3|v3.11.3.tar.gz|0d8ef5af7f9794e3263480193c491549b2ba6cc74bb018906202ada498a79406|
'

have() { echo "$2  $cache/$1" | sha256sum --check --status 2>/dev/null; }

fetch() {
  local missing=() pkg name sha opts line uri got
  while IFS='|' read -r pkg name sha opts; do
    [ -z "$pkg" ] || have "$name" "$sha" || missing+=("$pkg|$name|$sha|$opts")
  done <<<"$deps"
  [ ${#missing[@]} -gt 0 ] || return 0
  mkdir -p "$cache"
  work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/dl"
  # The mirror that this machine's own apt uses.
  uri=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' \
      'Created-By: Packages' | awk -F'|' '$1$2 == "DebianDebian" && !n++ {print $3}')
  : "${uri:?no Debian mirror in the apt configuration (run apt-get update)}"
  echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" \
    >"$work/sources.list"
  local apt=(apt-get -qq -o Dir::Etc::SourceList="$work/sources.list"
    -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$work/lists"
    -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root
    -o Acquire::Languages=none -o Acquire::Retries=3)
  "${apt[@]}" update
  for line in "${missing[@]}"; do
    IFS='|' read -r pkg name sha opts <<<"$line"
    (cd "$work/dl" && "${apt[@]}" source --download-only --tar-only "$pkg")
    got=$(ls "$work/dl/${pkg}"_*.orig.tar.gz)
    if [ -n "$opts" ]; then
      # shellcheck disable=SC2086
      python3 $here/retar.py "$got" "$cache/$name" $opts
    else
      cp "$got" "$cache/$name"
    fi
    have "$name" "$sha" || { echo "$name: sha256 differs from GitHub's" >&2; exit 1; }
    echo "$name: ok"
  done
}

write_rc() {
  # `bazel --version` of Debian's 4.2.3 says 'no_version', so ask dpkg.
  local version stubs=$root/$here/repos cmd path name cmds=()
  version=$(dpkg-query -W -f '${Version}' bazel-bootstrap)
  declare -A repo=()
  for path in /usr/share/bazel/rules/* /usr/share/bazel/tools/*; do
    case $path in
      */tools/platforms) name=platforms ;;
      */tools/*) name=bazel_${path##*/} ;;
      *) name=rules_${path##*/} ;;
    esac
    repo[$name]=$path
  done
  case $version in
    4.*)  # Debian's rules_cc is too new for it; `common` takes too few options
      repo[rules_cc]=$stubs/rules_cc
      repo[remote_coverage_tools]=$stubs/remote_coverage_tools
      cmds=(build query fetch sync) ;;
    *) cmds=(common) ;;
  esac
  {
    echo "# Written by $here/setup.sh for bazel-bootstrap $version"
    case $version in
      4.*) ;;
      *) echo "common --noenable_bzlmod --enable_workspace" ;;
    esac
    for cmd in "${cmds[@]}"; do
      echo "$cmd --distdir=$cache"
      for name in $(printf '%s\n' "${!repo[@]}" | sort); do
        echo "$cmd --override_repository=$name=${repo[$name]}"
      done
    done
    # A missing deps entry must not silently pick up Debian's older headers.
    for path in /usr/include/{absl,hwy,gtest,gmock,benchmark,nlohmann}; do
      [ ! -d "$path" ] || echo "build --sandbox_block_path=$path"
    done
    # Shared by all clones on this machine: only the first build is cold.
    echo "build --disk_cache=$cache/disk"
  } >user.bazelrc
}

fetch
write_rc
