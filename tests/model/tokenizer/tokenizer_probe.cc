// tokenizer_probe [--chat] MODEL < TEXTS > IDS
//
// For tools/compare_tokenizer.py: loads the tokenizer of MODEL and writes, for
// each line of the input, a JSON string, a line of JSON: the ids, whether NFC
// changed the text, how many bytes have no token, and the bytes that the ids
// stand for, as hexadecimal digits. At the end, on stderr, the time that
// encoding took. With --chat, instead, the prompts that the chat template makes
// of the texts, as JSON strings.

#include <chrono>
#include <iostream>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "model/tokenizer/chat.h"
#include "model/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using Clock = std::chrono::steady_clock;

double Seconds(Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

int Chat(const char* model) {
  const absl::StatusOr<Tokenizer> tokenizer = Tokenizer::Load(model);
  std::string line;
  while (tokenizer.ok() && std::getline(std::cin, line)) {
    const absl::StatusOr<std::string> prompt = FormatChatMl(
        *tokenizer, nlohmann::json::parse(line).get<std::string>());
    if (!prompt.ok()) {
      std::cerr << prompt.status() << "\n";
      return 1;
    }
    std::cout << nlohmann::json(*prompt) << "\n";
  }
  return tokenizer.ok() ? 0 : 1;
}

int Encode(const char* model) {
  const Clock::time_point begin = Clock::now();
  const absl::StatusOr<Tokenizer> tokenizer = Tokenizer::Load(model);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status() << "\n";
    return 1;
  }
  std::cerr << "loaded in " << Seconds(Clock::now() - begin) << " s\n";
  Clock::duration encoding{};
  size_t bytes = 0;
  std::string line;
  while (std::getline(std::cin, line)) {
    const nlohmann::json parsed = nlohmann::json::parse(line, nullptr, false);
    if (!parsed.is_string()) {
      std::cerr << "expected a JSON string, found " << line << "\n";
      return 1;
    }
    const auto& text = parsed.get_ref<const std::string&>();
    const Clock::time_point start = Clock::now();
    const absl::StatusOr<Encoding> encoded = tokenizer->Encode(text);
    encoding += Clock::now() - start;
    bytes += text.size();
    if (!encoded.ok()) {
      std::cerr << encoded.status() << "\n";
      return 1;
    }
    const absl::StatusOr<std::string> decoded = tokenizer->Decode(encoded->ids);
    if (!decoded.ok()) {
      std::cerr << decoded.status() << "\n";
      return 1;
    }
    std::cout << nlohmann::json{{"ids", encoded->ids},
                                {"normalized", encoded->normalized},
                                {"dropped", encoded->dropped_bytes},
                                {"bytes", absl::BytesToHexString(*decoded)}}
              << "\n";
  }
  std::cerr << "encoded " << bytes << " bytes in " << Seconds(encoding)
            << " s: " << static_cast<double>(bytes) / 1e6 / Seconds(encoding)
            << " MB/s\n";
  return 0;
}

}  // namespace
}  // namespace ulpscope

int main(int argc, char** argv) {
  const bool chat = argc == 3 && std::string(argv[1]) == "--chat";
  if (argc != 2 && !chat) {
    std::cerr << "usage: tokenizer_probe [--chat] MODEL\n";
    return 2;
  }
  return chat ? ulpscope::Chat(argv[2]) : ulpscope::Encode(argv[1]);
}
