#!/bin/bash
# What Bazel's --workspace_status_command prints: the commit that is built, and
# whether files differ from it. Nothing without git, or outside of a clone.
# BUILD_... are volatile: a new commit alone links nothing again, so that a
# binary names the commit that it was first linked at, whose sources it is of.
commit=$(git rev-parse HEAD 2>/dev/null) || exit 0
[[ -z $(git status --porcelain --untracked-files=no 2>/dev/null) ]] ||
  commit+=-changed
echo "BUILD_SCM_REVISION $commit"
