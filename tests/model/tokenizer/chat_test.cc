#include "model/tokenizer/chat.h"

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ulpscope {
namespace {

using ::absl_testing::StatusIs;
using ::testing::HasSubstr;

constexpr absl::string_view kPlain =
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
constexpr absl::string_view kPrompt =
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";

std::string Prompt(absl::string_view chat_template) {
  const absl::StatusOr<ChatMl> chat = ReadChatMl(chat_template);
  return chat.ok() ? chat->Format("Hi") : std::string(chat.status().message());
}

TEST(ChatTest, RendersOneMessage) { EXPECT_EQ(Prompt(kPlain), kPrompt); }

TEST(ChatTest, TheDefaultSystemMessageIsTheTemplates) {
  const auto chat = ReadChatMl(absl::StrCat(
      "{% if messages[0]['role'] != \"system\" %}"
      "{{ '<|im_start|>system\nBe \\'brief\\'.<|im_end|>\\n' }}{% endif %}",
      kPlain));
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(chat->system, "Be 'brief'.");
  EXPECT_EQ(
      chat->Format("Hi"),
      absl::StrCat("<|im_start|>system\nBe 'brief'.<|im_end|>\n", kPrompt));
  EXPECT_EQ(ReadChatMl(kPlain)->system, std::nullopt);
}

// As Jinja's trim_blocks and lstrip_blocks.
TEST(ChatTest, WhiteSpaceAroundTags) {
  EXPECT_EQ(Prompt("{# why #}\n"
                   "  {%- for message in messages %}\n"
                   "    {% if message.role == 'user' %}\n"
                   "<|im_start|>{{ message.role -}}  \n"
                   "    {{- '\\n' + message.content }}<|im_end|>\n"
                   "    {% endif %}\n"
                   "  {% endfor %}\n"
                   "  {% if add_generation_prompt -%}\n\n"
                   "<|im_start|>assistant\n"
                   "{% endif %}\n"),
            kPrompt);
}

TEST(ChatTest, ANewlineAtTheEndDoesNotCount) {
  const std::string text = absl::StrCat(kPlain, "{{ '' }}");
  EXPECT_EQ(Prompt(text + "\n"), kPrompt);
  EXPECT_EQ(Prompt(text + "\n\n"), absl::StrCat(kPrompt, "\n"));
}

TEST(ChatTest, OnlyWhatIsReachedNeedsToBeKnown) {
  EXPECT_EQ(
      Prompt(absl::StrCat("{% if tools %}{{ tools | tojson }}{% elif tools and "
                          "strange %}{% endif %}{% set ns = namespace(x=1) %}",
                          kPlain)),
      kPrompt);
  EXPECT_EQ(
      Prompt(absl::StrCat("{% if (message.role == 'user') or strange(a, b) "
                          "%}{% endif %}{% if tools and not strange %}x"
                          "{% endif %}",
                          kPlain)),
      kPrompt);
}

// Qwen3's later templates.
TEST(ChatTest, VariablesOfKnownValueAreKnown) {
  const std::string rest =
      "{{ '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}"
      "{% endfor %}{{ '<|im_start|>assistant\\n' }}";
  EXPECT_EQ(Prompt(absl::StrCat(
                "{% for message in messages %}{% if message.content is string "
                "%}{% set content = message.content %}{% else %}{% set content "
                "= '' %}{% endif %}",
                rest)),
            kPrompt);
  for (const char* set :
       {"{% set content = strange %}",
        "{% set content = message.content %}{% if strange %}{% set content = "
        "'' %}{% endif %}",
        ""}) {
    EXPECT_THAT(
        ReadChatMl(absl::StrCat("{% for message in messages %}", set, rest)),
        StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("content")));
  }
  // Those of a loop end with it.
  EXPECT_THAT(
      ReadChatMl(absl::StrCat("{% for message in messages %}{% set x = 'y' %}"
                              "<|im_start|>{% endfor %}{{ x }}",
                              kPlain)),
      StatusIs(absl::StatusCode::kUnimplemented,
               HasSubstr("expression \"x\"")));
}

TEST(ChatTest, RefusesWhatItDoesNotKnow) {
  const struct {
    std::string text;
    const char* found;
  } cases[] = {
      {"<|start_header_id|>", "Llama 3"},
      {"{{ messages }}", "neither <|im_start|>"},
      {absl::StrCat("{% if strange %}x{% endif %}", kPlain), "strange"},
      {absl::StrCat("{% if tools or strange %}x{% endif %}", kPlain),
       "strange"},
      {absl::StrCat("{{ bos_token }}", kPlain), "bos_token"},
      {absl::StrCat("{% set messages = messages[1:] %}", kPlain), "messages"},
      {absl::StrCat("{% macro m() %}{% endmacro %}", kPlain), "macro"},
      {absl::StrCat("x", kPlain), "before the user's text"},
      // A terminal would obey it.
      {absl::StrCat("{{ '\\\x1b[2J' }}", kPlain), "escape \"\\\\\\x1b\""},
      {absl::StrCat(kPlain, kPlain), "2 times"},
      {absl::StrCat(kPlain, "{% for x in tools %}x{% endfor %}"), "x in tools"},
      {"{% for message in messages %}<|im_start|>{{ message.role }}\n"
       "{{ message.content | trim }}<|im_end|>\n{% endfor %}",
       "message.content|trim"},
      {"{% for message in messages %}<|im_start|>{{ message.role }}\n"
       "{{ message.content }}<|im_end|>\n{% endfor %}",
       "around the user's text"},
  };
  for (const auto& [text, found] : cases) {
    EXPECT_THAT(ReadChatMl(text),
                StatusIs(absl::StatusCode::kUnimplemented, HasSubstr(found)))
        << text;
  }
}

TEST(ChatTest, DamagedTemplatesAreErrors) {
  EXPECT_THAT(ReadChatMl("<|im_start|><|im_end|>{{ 'a\\"),
              StatusIs(absl::StatusCode::kInvalidArgument));

  const std::string plain(kPlain);
  for (size_t size = 0; size < plain.size(); ++size) {
    const absl::StatusOr<ChatMl> chat = ReadChatMl(plain.substr(0, size));
    EXPECT_FALSE(chat.ok()) << plain.substr(0, size);
  }
  std::string deep = "<|im_start|><|im_end|>";
  for (int i = 0; i < 100'000; ++i) deep += "{% if a %}";
  EXPECT_FALSE(ReadChatMl(deep).ok());
  const std::string open(100'000, '(');
  EXPECT_FALSE(
      ReadChatMl(absl::StrCat("{% if ", open, "a %}x{% endif %}", kPlain))
          .ok());
}

}  // namespace
}  // namespace ulpscope
