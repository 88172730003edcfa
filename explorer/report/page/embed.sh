#!/bin/bash
# embed.sh page.html page.css FILE.js...: prints a C++ source with the page as
# one text, kPageText. The page allows itself only this style and this script,
# by their hashes, so that nothing else in it could run. bash and coreutils
# only: the build needs no node.
set -euo pipefail

html=$(<"$1")
# Without comments and indentation, which are for readers of these files.
style=$(sed -E '/^\/\*.*\*\/$/d; /^\/\*/,/\*\/$/d; s/^ +//' "$2")
script=$(echo '"use strict";' && sed -E '/^ *\/\//d; s/^ +//' "${@:3}")

# As Content-Security-Policy has it.
hash_of() {
  local hex
  hex=$(printf '%s' "$1" | sha256sum | cut -c1-64)
  # shellcheck disable=SC2059  # the bytes are escapes of the format
  echo "sha256-$(printf "$(sed 's/../\\x&/g' <<<"$hex")" | base64 -w0)"
}

# put NAME TEXT: the text stands for @NAME@.
put() {
  html=${html%%@"$1"@*}$2${html#*@"$1"@}
}

put STYLE_HASH "$(hash_of "$style")"
put SCRIPT_HASH "$(hash_of "$script")"
put STYLE "$style"
put SCRIPT "$script"

# A literal may have 64 KiB by the standard; pieces of lines stay far below.
echo '#include "explorer/report/page_text.h"'
echo 'namespace ulpscope {'
echo 'const char kPageText[] ='
printf '%s\n' "$html" | while IFS= read -r line; do
  printf 'R"page(%s\n)page"\n' "$line"
done
echo ';'
echo '}  // namespace ulpscope'
