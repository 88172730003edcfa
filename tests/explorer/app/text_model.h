#ifndef TESTS_EXPLORER_APP_TEXT_MODEL_H_
#define TESTS_EXPLORER_APP_TEXT_MODEL_H_

#include <string>

namespace ulpscope {

// Writes a Hugging Face folder of the running test's own: a Qwen2 of two layers
// with random weights, and the tokenizer of tests/testdata/tokenizer/NAME, all
// of whose ids are below its vocabulary's size. Returns its path.
std::string WriteTextModel(const std::string& tokenizer);

// The size of its vocabulary.
inline constexpr int kTextModelVocabulary = 720;

}  // namespace ulpscope

#endif  // TESTS_EXPLORER_APP_TEXT_MODEL_H_
