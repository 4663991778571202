#include "common/command_template.h"

#include <gtest/gtest.h>

namespace haul {
namespace {

using Arguments = std::vector<std::string>;
using namespace std::string_literals;
using namespace std::string_view_literals;

Arguments Expand(Arguments arguments, const TaskValues& values) {
  const auto command = CommandTemplate::Parse({.arguments = std::move(arguments)});
  EXPECT_TRUE(command.ok()) << command.status();
  const auto expanded = command->Expand(values);
  EXPECT_TRUE(expanded.ok()) << expanded.status();
  return expanded.ok() ? expanded->arguments : Arguments{};
}

std::string ExpandOne(const std::string& text, std::string_view input) {
  return Expand({"p", text}, {.index = 6, .input = input}).at(1);
}

TEST(CommandTemplateTest, FormsOfOneValueAreThoseOfGnuParallel) {
  EXPECT_EQ(ExpandOne("{}", "d/f.tar.gz"), "d/f.tar.gz");
  EXPECT_EQ(ExpandOne("{.}", "d/f.tar.gz"), "d/f.tar");
  EXPECT_EQ(ExpandOne("{/}", "d/f.tar.gz"), "f.tar.gz");
  EXPECT_EQ(ExpandOne("{//}", "d/f.tar.gz"), "d");
  EXPECT_EQ(ExpandOne("{/.}", "d/f.tar.gz"), "f.tar");
  EXPECT_EQ(ExpandOne("{#}", "x"), "7");
  EXPECT_EQ(ExpandOne("{index}", "x"), "6");
  EXPECT_EQ(ExpandOne("<{.}.{#}>", "a.b"), "<a.7>");
}

TEST(CommandTemplateTest, PathsAtTheirEdges) {
  EXPECT_EQ(WithoutExtension("a.b/c"), "a.b/c");
  EXPECT_EQ(WithoutExtension("plain"), "plain");
  EXPECT_EQ(WithoutExtension(""), "");
  EXPECT_EQ(BaseName("a/"), "");
  EXPECT_EQ(BaseName("plain"), "plain");
  EXPECT_EQ(DirectoryName("plain"), ".");
  EXPECT_EQ(DirectoryName("/plain"), "/");
  EXPECT_EQ(DirectoryName("/"), "/");
  EXPECT_EQ(DirectoryName("a/b/"), "a");
  EXPECT_EQ(DirectoryName("a//b"), "a");
  EXPECT_EQ(DirectoryName(""), ".");
}

TEST(CommandTemplateTest, WhatIsNoPlaceholderStays) {
  for (const char* text : {"{x}", "{print $1}", "{", "}", "{0}", "{01}", "{1x}", "{ }", "{%}",
                           "{12345}", "{..}", "{-1}"}) {
    EXPECT_EQ(ExpandOne(text, "v"), text);
  }
  EXPECT_EQ(ExpandOne("{{}}", "v"), "{v}");
  EXPECT_EQ(ExpandOne("awk {print {}}", "v"), "awk {print v}");
}

TEST(CommandTemplateTest, SeveralSources) {
  const TaskValues values{.input = "a.x\0b/c.y"sv};
  EXPECT_EQ(Expand({"p", "{2}-{1}", "{2/.}", "{1.}"}, values),
            (Arguments{"p", "b/c.y-a.x", "c", "a"}));
  EXPECT_EQ(Expand({"p", "{}", "[{}]", "{.}"}, values),
            (Arguments{"p", "a.x", "b/c.y", "[a.x b/c.y]", "a", "b/c"}));
  const auto command = CommandTemplate::Parse({.arguments = {"p", "{3}"}});
  EXPECT_EQ(command->highest_source(), 3u);
  const auto expanded = command->Expand(values);
  EXPECT_EQ(expanded.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(expanded.status().message(), "placeholder {3}: the task has 2 input values");
}

TEST(CommandTemplateTest, InputsAreAppendedWhereNoPlaceholderIs) {
  EXPECT_EQ(Expand({"p", "-v"}, {.input = "a\0b c\0"sv}), (Arguments{"p", "-v", "a", "b c", ""}));
  EXPECT_EQ(Expand({"p", "{#}"}, {.input = "a"}), (Arguments{"p", "1"}));
  const auto command = CommandTemplate::Parse({.arguments = {"wc"}, .stdin_file = "{}"});
  const auto expanded = command->Expand({.input = "file"});
  EXPECT_EQ(expanded->arguments, (Arguments{"wc"}));
  EXPECT_EQ(expanded->stdin_file, "file");
}

TEST(CommandTemplateTest, AnArrayValueIsTheInputButIsNotAppended) {
  const TaskValues values{.index = 2, .array_value = -10};
  EXPECT_EQ(Expand({"p", "{}", "{index}", "{1}", "x{#}"}, values),
            (Arguments{"p", "-10", "-10", "-10", "x3"}));
  EXPECT_EQ(Expand({"p"}, values), (Arguments{"p"}));
}

TEST(CommandTemplateTest, ValuesAreBytesAndAreNotExpandedAgain) {
  EXPECT_EQ(ExpandOne("{}", "\xff\xfe$(rm) {#}'\n"), "\xff\xfe$(rm) {#}'\n");
}

TEST(CommandTemplateTest, EnvironmentDirectoryAndStdinExpandToo) {
  const auto command = CommandTemplate::Parse({.arguments = {"p"},
                                               .environment = {{"OUT", "{/.}.out"}, {"N", "{#}"}},
                                               .directory = "/work/{//}",
                                               .stdin_file = "{}"});
  const auto expanded = command->Expand({.index = 1, .input = "d/f.c"});
  ASSERT_TRUE(expanded.ok());
  EXPECT_EQ(expanded->environment[0].second, "f.out");
  EXPECT_EQ(expanded->environment[1].second, "2");
  EXPECT_EQ(expanded->directory, "/work/d");
  EXPECT_EQ(expanded->stdin_file, "d/f.c");
  EXPECT_EQ(expanded->arguments, (Arguments{"p"}));
}

TEST(CommandTemplateTest, TheLimitIsNamed) {
  const auto command =
      CommandTemplate::Parse({.arguments = {"p", "{}"}, .environment = {{"A", "b"}}});
  const std::string fits(CommandTemplate::kMostBytes - 7,
                         'x');  // with "p", "A=b" and three zero bytes
  EXPECT_TRUE(command->Expand({.input = fits}).ok());
  const std::string over = fits + "x";
  const auto expanded = command->Expand({.input = over});
  EXPECT_EQ(expanded.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(expanded.status().message(),
            "arguments and environment of the task take 131073 bytes; the limit is 131072");
}

TEST(CommandTemplateTest, BadCommandsAreRefused) {
  const auto refused = [](const CommandText& text) {
    return std::string(CommandTemplate::Parse(text).status().message());
  };
  EXPECT_EQ(refused({}), "the command is empty");
  EXPECT_EQ(refused({.arguments = {""}}), "the command's program is an empty string");
  EXPECT_EQ(refused({.arguments = {"p", "a\0b"s}}), "argument 1 of the command holds a zero byte");
  EXPECT_NE(refused({.arguments = {"p"}, .environment = {{"A=B", ""}}}), "");
  EXPECT_NE(refused({.arguments = {"p"}, .environment = {{"A", "\0"s}}}), "");
  EXPECT_NE(refused({.arguments = {"p"}, .directory = "\0"s}), "");
  EXPECT_NE(refused({.arguments = {"p"}, .stdin_file = "\0"s}), "");
}

}  // namespace
}  // namespace haul
