// A linkstamp: compiled when a program is linked, with what
// tools/build_commit.sh printed. It can include nothing.

namespace ulpscope {

extern const char* const kBuildCommit;

#ifdef BUILD_SCM_REVISION
const char* const kBuildCommit = BUILD_SCM_REVISION;
#else
const char* const kBuildCommit = "unknown";
#endif

}  // namespace ulpscope
