// Machines of their own, as far as the network goes: network namespaces, joined to the test's by
// veth pairs (iproute2), whose cables can be cut.
//
// All of it is the kernel's to remove: the namespaces have no names, and are gone with the last
// process in them, also when the test is killed.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/chaos/processes.h"

namespace haul::chaos {

// Why machines cannot be made here; empty: they can.
std::string WhyNoMachines();

// Moves this thread, and what it starts from now on, into a network namespace of its own; once in a
// process, before other threads are started. The machines below are joined to it.
void EnterOwnNetwork();
// Where a coordinator can listen so that all machines reach it.
inline constexpr const char* kOwnHost = "10.77.0.1";

class Machine {
 public:
  explicit Machine(int number);  // 1 to 250, each once at a time
  ~Machine();

  // What runs a program there: to be put before its command line.
  std::vector<std::string> Prefix() const;

  // What the machine sends is lost, and nobody is told; likewise what is sent to it.
  void LoseWhatItSends();
  void LoseWhatItIsSent();
  // Its end of the cable is pulled: both, and its own programs are told that there is no way.
  void PullCable();
  void Heal();

 private:
  void RunThere(std::vector<std::string> arguments) const;

  const std::string network_;   // "10.77.N."
  const std::string our_link_;  // this end of the cable
  const std::string our_mac_;
  const std::string its_mac_;
  std::unique_ptr<Program> holder_;  // lives in the namespace, so that this does
};

}  // namespace haul::chaos
