// A TCP proxy that hurts what passes through it: resets, connections of which one end knows
// nothing, silence, delay, a byte at a time. Stands between a worker and its coordinator.
//
// A thread of its own does the work; the methods may be called by any thread and take effect within
// milliseconds. Listens on 127.0.0.1 on a port that the system chose.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace haul::chaos {

class FaultyProxy {
 public:
  // As the one who connects sees it.
  enum Direction : std::size_t { kForth = 0, kBack = 1 };
  enum class Flow {
    kPass,
    kHold,     // nothing is read: what is sent piles up at its sender, and passes later
    kSwallow,  // what is sent is acknowledged and lost; that connection never recovers
  };

  explicit FaultyProxy(const std::string& target);  // "HOST:PORT", HOST an IPv4 address
  ~FaultyProxy();
  FaultyProxy(const FaultyProxy&) = delete;
  FaultyProxy& operator=(const FaultyProxy&) = delete;

  const std::string& address() const { return address_; }

  // Of all connections, those that come too.
  void SetFlow(Direction direction, Flow flow);
  void SetFlow(Flow flow);  // in both directions
  // Everything arrives so much later; throughput stays.
  void SetDelay(std::chrono::milliseconds delay);
  // At most so many bytes every millisecond in each direction; 0: no limit.
  void SetPace(std::size_t bytes_per_ms);
  // New connections are reset at once.
  void SetRefusing(bool refusing);
  // Connections that there are become half-open: both ends believe in them, and nothing passes any
  // more. New ones are whole.
  void ForgetConnections();
  // Resets both ends of all that there are.
  void ResetConnections();
  // Resets the connection by which, from now on, so many bytes have passed in this direction, in
  // the midst of what is being sent.
  void ResetAfter(Direction direction, std::uint64_t bytes);

  std::uint64_t accepted() const;   // so far
  std::uint64_t resets() const;     // connections that ResetAfter reset, so far
  std::size_t connections() const;  // whole ones, now
  std::uint64_t passed_bytes(Direction direction) const;  // so far

 private:
  using Clock = std::chrono::steady_clock;

  struct Chunk {
    Clock::time_point due;
    std::string bytes;
  };
  // From one end to the other.
  struct Pipe {
    std::deque<Chunk> chunks;  // at most kMostBufferedBytes
    std::size_t buffered_bytes = 0;
    bool ended = false;       // its source will say no more
    bool end_told = false;    // and its sink knows
    Clock::time_point paced;  // when it may pass more
  };
  struct Connection {
    std::array<int, 2> sockets{-1,
                               -1};  // [kForth]: of the one who connected; [kBack]: the target's
    std::array<Pipe, 2> pipes;       // [kForth] leads from the one who connected to the target
    bool forgotten = false;
    bool over = false;
  };

  void Run();
  void Accept();
  void Poll();
  void Serve(Connection& connection, Clock::time_point now);
  void Take(Connection& connection, Direction direction, Clock::time_point now);
  void Pass(Connection& connection, Direction direction, Clock::time_point now);
  std::size_t MayPass(Direction direction) const;
  void OnEnd(Connection& connection, Direction direction);
  void CountPassed(Connection& connection, Direction direction, std::size_t bytes);
  static void Reset(Connection& connection);
  void Wake();

  std::string address_;
  std::string target_host_;
  std::uint16_t target_port_ = 0;
  int listener_ = -1;
  int wake_ = -1;

  mutable std::mutex mutex_;  // of all below
  bool stopping_ = false;
  std::array<Flow, 2> flow_{Flow::kPass, Flow::kPass};
  std::chrono::milliseconds delay_{0};
  std::size_t bytes_per_ms_ = 0;
  bool refusing_ = false;
  std::array<std::uint64_t, 2> reset_after_{0, 0};  // 0: never
  std::array<std::uint64_t, 2> passed_{0, 0};
  std::uint64_t accepted_ = 0;
  std::uint64_t resets_ = 0;
  std::vector<std::unique_ptr<Connection>> connections_;

  std::thread thread_;
};

}  // namespace haul::chaos
