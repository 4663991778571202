// The floors of calls: a chain of sockets, and commits.
#include <array>
#include <chrono>
#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "cli/bench/floors/floor_database.h"
#include "cli/bench/floors/floors.h"
#include "cli/bench/floors/socket_pair.h"

namespace haul::cli {
namespace {

using client::ErrorKind;
using client::Status;
using SteadyClock = std::chrono::steady_clock;

}  // namespace

client::Result<std::vector<double>> BareCalls(std::uint64_t calls, bool durable) {
  std::vector<double> took_us;
  try {
    const std::array<SocketPair, 3> hops;
    const auto hand_on = [&](std::size_t from, const auto& commit) {
      std::uint64_t id = 0;
      while (ReadAll(hops[from].right(), &id, sizeof id)) {
        commit();
        WriteAll(hops[from + 1].left(), &id, sizeof id);
        if (!ReadAll(hops[from + 1].left(), &id, sizeof id)) return;
        commit();
        WriteAll(hops[from].right(), &id, sizeof id);
      }
    };
    std::unique_ptr<FloorDatabase> database;
    if (durable) database = std::make_unique<FloorDatabase>();
    std::exception_ptr failure;
    std::thread coordinator([&] {
      try {
        hand_on(0, [&] {
          if (database == nullptr) return;
          database->Begin();
          database->Insert("outcome");
          database->Commit();
        });
      } catch (...) {
        failure = std::current_exception();
        for (const SocketPair& hop : hops) hop.ShutDown();
      }
    });
    std::thread worker([&] { hand_on(1, [] {}); });
    std::thread executor([&] {
      std::uint64_t id = 0;
      while (ReadAll(hops[2].right(), &id, sizeof id)) WriteAll(hops[2].right(), &id, sizeof id);
    });
    for (std::uint64_t call = 0; call < calls; ++call) {
      const auto start = SteadyClock::now();
      std::uint64_t id = call;
      WriteAll(hops[0].left(), &id, sizeof id);
      ReadAll(hops[0].left(), &id, sizeof id);
      took_us.push_back(
          std::chrono::duration<double, std::micro>(SteadyClock::now() - start).count());
    }
    for (const SocketPair& hop : hops) hop.ShutDown();
    coordinator.join();
    worker.join();
    executor.join();
    if (failure) std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    return Status(ErrorKind::kFailed, std::string("the bare calls: ") + error.what());
  }
  return took_us;
}

client::Result<double> BareCommits(std::uint64_t count) {
  try {
    FloorDatabase database;
    const auto start = SteadyClock::now();
    for (std::uint64_t i = 0; i < count; ++i) {
      database.Begin();
      database.Insert("a job");
      database.Commit();
    }
    return static_cast<double>(count) /
           std::chrono::duration<double>(SteadyClock::now() - start).count();
  } catch (const std::exception& error) {
    return Status(ErrorKind::kFailed, std::string("the bare commits: ") + error.what());
  }
}

}  // namespace haul::cli
