#ifndef EXPLORER_APP_BUILD_COMMIT_H_
#define EXPLORER_APP_BUILD_COMMIT_H_

namespace ulpscope {

// The commit that the program was linked at, "-changed" behind it if files
// differed from that (tools/build_commit.sh); "unknown" for tests, and where
// there was no git.
extern const char* const kBuildCommit;

}  // namespace ulpscope

#endif  // EXPLORER_APP_BUILD_COMMIT_H_
