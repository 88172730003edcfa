#include "kernels/base/cpu.h"

#include "gtest/gtest.h"

namespace ulpscope {
namespace {

TEST(CpuTest, NameOnX86IsTheModelName) {
  EXPECT_EQ(CpuNameIn("processor\t: 0\n"
                      "vendor_id\t: GenuineIntel\n"
                      "model\t\t: 143\n"
                      "model name\t: Intel(R) Xeon(R) CPU: 8488C\n"
                      "\n"
                      "processor\t: 1\n"
                      "model name\t: another\n"),
            "Intel(R) Xeon(R) CPU: 8488C");
}

TEST(CpuTest, NameOnArmIsImplementerAndPartOfEachKindOfCore) {
  EXPECT_EQ(CpuNameIn("processor\t: 0\n"
                      "BogoMIPS\t: 243.75\n"
                      "CPU implementer\t: 0x41\n"
                      "CPU architecture: 8\n"
                      "CPU variant\t: 0x3\n"
                      "CPU part\t: 0xd0c\n"
                      "CPU revision\t: 1\n"
                      "\n"
                      "processor\t: 1\n"
                      "CPU implementer\t: 0x41\n"
                      "CPU part\t: 0xd0c\n"),
            "Arm implementer 0x41 part 0xd0c");
  EXPECT_EQ(CpuNameIn("CPU implementer : 0x41\nCPU part : 0xd05\n\n"
                      "CPU implementer : 0x61\nCPU part : 0x022\n\n"
                      "CPU implementer : 0x41\nCPU part : 0xd05"),
            "Arm implementer 0x41 part 0xd05 + Arm implementer 0x61 part "
            "0x022");
}

TEST(CpuTest, NameOfAnythingElseIsUnknown) {
  for (const char* text : {"", "\n", ":", "model name", "model name\t:\n",
                           "CPU part", "processor : 0\nflags : fpu\n"}) {
    EXPECT_EQ(CpuNameIn(text), "unknown CPU") << text;
  }
}

}  // namespace
}  // namespace ulpscope
