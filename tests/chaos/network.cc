#include "tests/chaos/network.h"

#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace haul::chaos {
namespace {

constexpr const char* kTheirLink = "cable";
// Nobody's: what is sent there arrives nowhere.
constexpr const char* kNobodysMac = "02:00:00:00:00:ee";

std::string NamespaceOf(pid_t pid) { return "/proc/" + std::to_string(pid) + "/ns/net"; }

std::string Mac(int number, int end) {
  char text[18];
  std::snprintf(text, sizeof text, "02:00:00:00:%02x:%02x", static_cast<unsigned>(number) & 255u,
                static_cast<unsigned>(end) & 255u);
  return text;
}

std::unique_ptr<Program> HoldNamespace() {
  auto holder = std::make_unique<Program>(
      Program::Options{.arguments = {"unshare", "--net", "--", "sleep", "1000000"},
                       .environment = {std::string("PATH=") + std::getenv("PATH")},
                       .error_file = "/dev/null"});
  const auto own = std::filesystem::read_symlink(NamespaceOf(::getpid()));
  Await("a network namespace", [&] {
    if (holder->Poll()) throw Failure("unshare --net: not permitted");
    std::error_code ignored;
    return std::filesystem::read_symlink(NamespaceOf(holder->pid()), ignored) != own;
  });
  return holder;
}

}  // namespace

std::string WhyNoMachines() {
  try {
    RunTool({"ip", "-V"});
    RunTool({"unshare", "--net", "--", "ip", "link", "add", "probe", "type", "veth"});
  } catch (const Failure& failure) {
    return failure.what();
  }
  return "";
}

void EnterOwnNetwork() {
  static bool entered = false;
  if (entered) return;
  if (::unshare(CLONE_NEWNET) != 0) {
    throw Failure(std::string("unshare(CLONE_NEWNET): ") + std::strerror(errno));
  }
  entered = true;
  RunTool({"ip", "link", "set", "lo", "up"});
  RunTool({"ip", "address", "add", std::string(kOwnHost) + "/32", "dev", "lo"});
}

Machine::Machine(int number)
    : network_("10.77." + std::to_string(number) + "."),
      our_link_("machine" + std::to_string(number)),
      our_mac_(Mac(number, 1)),
      its_mac_(Mac(number, 2)),
      holder_(HoldNamespace()) {
  RunTool({"ip", "link", "add", our_link_, "address", our_mac_, "type", "veth", "peer", "name",
           kTheirLink, "address", its_mac_, "netns", std::to_string(holder_->pid())});
  RunTool({"ip", "address", "add", network_ + "1/24", "dev", our_link_});
  RunTool({"ip", "link", "set", our_link_, "up"});
  RunThere({"ip", "link", "set", "lo", "up"});
  RunThere({"ip", "address", "add", network_ + "2/24", "dev", kTheirLink});
  Heal();
}

// The kernel takes a namespace down when it likes, and the cable with it: until then its name is
// taken.
Machine::~Machine() {
  try {
    RunTool({"ip", "link", "delete", our_link_});
  } catch (const Failure& failure) {
    std::fprintf(stderr, "%s\n", failure.what());
  }
}

std::vector<std::string> Machine::Prefix() const {
  return {"nsenter", "--net=" + NamespaceOf(holder_->pid()), "--"};
}

void Machine::RunThere(std::vector<std::string> arguments) const {
  std::vector<std::string> words = Prefix();
  words.insert(words.end(), arguments.begin(), arguments.end());
  RunTool(words);
}

// A permanent neighbour of a wrong address: frames leave, and no card takes them for its own.
void Machine::LoseWhatItSends() {
  RunThere({"ip", "neighbour", "replace", network_ + "1", "lladdr", kNobodysMac, "dev", kTheirLink,
            "nud", "permanent"});
}

void Machine::LoseWhatItIsSent() {
  RunTool({"ip", "neighbour", "replace", network_ + "2", "lladdr", kNobodysMac, "dev", our_link_,
           "nud", "permanent"});
}

void Machine::PullCable() { RunThere({"ip", "link", "set", kTheirLink, "down"}); }

void Machine::Heal() {
  RunThere({"ip", "link", "set", kTheirLink, "up"});
  RunThere({"ip", "route", "replace", kOwnHost, "via", network_ + "1", "dev", kTheirLink});
  RunThere({"ip", "neighbour", "replace", network_ + "1", "lladdr", our_mac_, "dev", kTheirLink,
            "nud", "permanent"});
  RunTool({"ip", "neighbour", "replace", network_ + "2", "lladdr", its_mac_, "dev", our_link_,
           "nud", "permanent"});
}

}  // namespace haul::chaos
