#!/usr/bin/env bash
# Holds the arrows between the rooms (docs/architecture.md) against what the sources include, and a few
# properties that arrows stand for: no gRPC in the helper programs, no clock in the pure cores, no file too
# long to be one thing.
#
#   arrows_test.sh ROOT [BIN_DIR]   checks the tree at ROOT, and the built helpers in BIN_DIR
#   arrows_test.sh --self-test      plants one violation of each kind and expects each to be found
set -euo pipefail
export LC_ALL=C

readonly max_file_lines=700

# What a file may include besides its own room: folders (their own files, not their subfolders'), single files, or one of
# std, system, absl, spdlog, grpc, protobuf (with our messages), public (include/haul), sqlite, json, cli11, tests
# (GoogleTest and Benchmark), any.
allowed_for() { # file room
  case "$1" in
    common/config.cc) echo "std system absl cli11"; return ;;
    coordinator/rpc/*_test.cc | coordinator/rpc/*_fixture.h | worker/rpc/*_test.cc | client/*_test.cc)
      echo "any"
      return
      ;;
    coordinator/loop/*_test.cc | coordinator/loop/*_fixture.h) echo "std absl common coordinator/core coordinator/loop coordinator/store"; return ;;
    # Linked statically and alone, it lives when everything else dies.
    worker/exec/guardian/guardian.cc) echo "std system worker/exec/process_tree.h worker/exec/spawn.h"; return ;;
    worker/exec/process_tree.* | worker/exec/spawn.*) echo "std system"; return ;;
    # A header for those who have messages; the others need the standard library alone.
    include/haul/protobuf.h) echo "std public protobuf"; return ;;
    worker/*_test.cc | worker/*_bench.cc | worker/exec/guardian/guardian_test_worker.cc)
      echo "std system absl spdlog common common/wire protobuf worker/core worker/exec worker/exec/launch" \
        "worker/exec/command worker/exec/executor worker/exec/guardian worker/executor" \
        "worker/loop public examples/functions"
      return
      ;;
  esac
  case "$2" in
    # library.h is a C interface.
    include/haul) echo "std public stdint.h stddef.h" ;;
    common) echo "std system absl spdlog" ;;
    common/wire) echo "std absl common protobuf" ;;
    common/rpc) echo "std system absl spdlog common common/wire protobuf grpc" ;;
    coordinator/core | worker/core) echo "std absl common" ;;
    coordinator/store) echo "std system absl spdlog common coordinator/core sqlite" ;;
    coordinator/loop)
      echo "std system absl spdlog common coordinator/core coordinator/store/store.h" ;;
    coordinator/rpc)
      # Large outputs stream between the wire and files, past the loop; output_files.h knows no SQLite.
      echo "std system absl spdlog common common/wire common/rpc protobuf grpc" \
        "coordinator/core coordinator/loop coordinator/store/store.h" \
        "coordinator/store/output_files.h" ;;
    coordinator)
      echo "std system absl spdlog common common/wire common/rpc protobuf grpc" \
        "coordinator/core coordinator/loop coordinator/store coordinator/rpc" ;;
    worker/executor) echo "std system absl spdlog common common/wire protobuf public" ;;
    # Commands, executor processes and the guardian do not know of each other.
    worker/exec) echo "std system absl common" ;;
    worker/exec/launch) echo "std system absl common protobuf worker/core worker/exec" ;;
    worker/exec/command) echo "std system absl common worker/exec worker/exec/launch worker/executor" ;;
    worker/exec/executor) echo "std system absl common common/wire protobuf worker/exec worker/executor" ;;
    worker/exec/guardian) echo "std system common worker/exec" ;;
    # What the worker says and is told are messages; the loop turns them into events and back.
    worker/loop)
      echo "std system absl spdlog common common/wire protobuf worker/core" \
        "worker/exec worker/exec/launch worker/exec/command worker/exec/executor" ;;
    worker/rpc)
      # What running tasks call goes to the coordinator by the client library's public headers.
      echo "std system absl spdlog common common/wire common/rpc protobuf grpc public" \
        "worker/core worker/loop worker/exec/reactor.h" ;;
    worker)
      echo "std system absl spdlog common common/wire common/rpc protobuf grpc" \
        "worker/core worker/exec worker/exec/launch worker/exec/command worker/exec/executor" \
        "worker/exec/guardian worker/executor worker/loop worker/rpc" ;;
    client) echo "std system absl spdlog common common/wire common/rpc protobuf grpc public" ;;
    cli)
      echo "std system absl spdlog common common/wire protobuf public json cli11" \
        "client coordinator worker worker/rpc/report_death.h" ;;
    cli/bench) echo "std system absl common public json cli11 cli cli/bench/floors" ;;
    cli/bench/floors) echo "std system absl public sqlite cli" ;;
    worker/executor/test_libraries) echo "std system public" ;;
    examples/functions | examples/article | examples/outside) echo "std system public" ;;
    tests | tests/*) echo "any" ;;
    *) echo "" ;;
  esac
}

# The kind of what is included; for a file of ours, its folder.
kind_of() { # included path
  case "$1" in
    absl/*) echo absl ;;
    spdlog/* | fmt/*) echo spdlog ;;
    grpc/* | grpc++/* | grpcpp/* | *.grpc.pb.h) echo grpc ;;
    google/protobuf/* | *.pb.h) echo protobuf ;;
    haul/*) echo public ;;
    sqlite3.h) echo sqlite ;;
    nlohmann/*) echo json ;;
    CLI/*) echo cli11 ;;
    gtest/* | gmock/* | benchmark/*) echo tests ;;
    common/* | coordinator/* | worker/* | client/* | cli/* | tests/* | examples/*) echo "${1%/*}" ;;
    */* | *.*) echo system ;;
    *) echo std ;;
  esac
}

readonly pure_forbidden_headers=" thread mutex shared_mutex condition_variable future semaphore latch \
barrier stop_token fstream filesystem iostream absl/time/clock.h absl/synchronization/mutex.h \
absl/synchronization/notification.h common/mailbox.h common/mutex.h common/logging.h "

violations=0
violation() {
  echo "$*"
  violations=$((violations + 1))
}

# Unit tests, and what they share: they stand in the room that they test, and keep its arrows.
is_for_tests() {
  case "$1" in
    *_test.cc | *_for_test.cc | *_for_test.h | *_test_harness.h | *_test_util.h | *_fixture.h | */store_subjects.h | *_bench.cc) return 0 ;;
    *) return 1 ;;
  esac
}

# A process for each include would be most of the time that this takes.
declare -A known_kinds=() known_allowed=()

check_include() { # file line bracket included
  local file=$1 line=$2 bracket=$3 included=$4 room kind
  room=${file%/*}
  kind=${known_kinds[$included]:-}
  if [[ -z $kind ]]; then
    kind=$(kind_of "$included")
    known_kinds[$included]=$kind
  fi
  # A function library sees include/ alone, so what its sources share stands beside them.
  if [[ $bracket == '"' && $included != */* && $room == examples/* ]]; then
    return
  fi
  if [[ $bracket == '"' && $included != */* ]]; then
    violation "$file:$line: write \"$included\" as a path from the root of the repository"
    return
  fi
  if [[ -z ${known_allowed[$file]:-} ]]; then
    known_allowed[$file]=" $(allowed_for "$file" "$room") "
  fi
  local allowed=${known_allowed[$file]}
  if [[ $allowed == "  " ]]; then
    violation "$file:$line: $room is not a room yet; say in tests/arrows_test.sh what it may include"
    return
  fi
  if is_for_tests "$file"; then
    allowed+="tests system public "
  elif [[ $room == */core && $pure_forbidden_headers == *" $included "* ]]; then
    violation "$file:$line: $room is pure: no <$included>"
    return
  fi
  if [[ $allowed != *" any "* && $kind != "$room" && $allowed != *" $kind "* &&
    $allowed != *" $included "* ]]; then
    violation "$file:$line: $room must not include $included"
  fi
}

check_includes() {
  local file line text
  local pattern='^[[:space:]]*#[[:space:]]*include[[:space:]]*([<"])([^>"]+)[>"]'
  while IFS=: read -r file line text; do
    [[ $text =~ $pattern ]] || continue
    check_include "$file" "$line" "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
  done < <(sources | xargs -0 -r grep -HnE '^[[:space:]]*#[[:space:]]*include')
}

check_pure_calls() {
  local hit
  local calls='(system_clock|steady_clock|high_resolution_clock)::now|absl::Now\(|std::j?thread|random_device'
  while IFS= read -r hit; do
    violation "$hit: a pure core takes time and randomness as arguments"
  done < <(sources | grep -zE '^(coordinator|worker)/core/' | grep -zvE '_test\.(cc|h)$' |
    xargs -0 -r grep -HnE "$calls")
}

check_lengths() {
  local file count
  while IFS= read -r -d '' file; do
    count=$(wc -l <"$file")
    if ((count > max_file_lines)); then
      violation "$file: $count lines; the limit is $max_file_lines"
    fi
  done < <(sources)
}

check_helpers() { # bin directory
  local program libraries
  for program in haul-executor haul-guardian; do
    [[ -x $1/$program ]] || continue
    if ! libraries=$(ldd "$1/$program" 2>&1) && [[ $libraries != *"not a dynamic"* ]]; then
      violation "$program: ldd cannot read it: $libraries"
    elif [[ $libraries == *libgrpc* ]]; then
      violation "$program: links gRPC"
    fi
  done
}

sources() {
  find common coordinator worker client cli include examples tests -type f \
    \( -name '*.cc' -o -name '*.h' \) -print0 2>/dev/null || true
}

check_tree() { # root [bin directory]
  cd "$1"
  check_includes
  check_pure_calls
  check_lengths
  [[ -z ${2:-} ]] || check_helpers "$2"
  local count
  count=$(sources | tr -dc '\0' | wc -c)
  if ((count == 0)); then
    violation "no sources below $1"
  fi
  echo "arrows: $count files, $violations violations"
  ((violations == 0))
}

# Plants text in a file of a tree that is clean otherwise, and expects the check to fail and to name that file.
expect_violation() { # file text
  local tree report
  tree=$(mktemp -d "$scratch/tree.XXXXXX")
  mkdir -p "$tree/common" "$tree/$(dirname "$1")"
  echo '#include <vector>' >"$tree/common/clean.h"
  printf '%s\n' "$2" >"$tree/$1"
  if report=$("$0" "$tree") || [[ $report != *"$1:"* ]]; then
    echo "not found: $2 in $1"
    violations=$((violations + 1))
  fi
}

expect_clean() { # file text
  local tree report
  tree=$(mktemp -d "$scratch/tree.XXXXXX")
  mkdir -p "$tree/$(dirname "$1")"
  printf '%s\n' "$2" >"$tree/$1"
  if ! report=$("$0" "$tree"); then
    echo "wrongly found: $report"
    violations=$((violations + 1))
  fi
}

self_test() {
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  expect_violation coordinator/core/core.cc '#include "haul/v1/jobs.pb.h"'
  expect_violation coordinator/core/core.cc '#include "spdlog/spdlog.h"'
  expect_violation coordinator/core/core.h '#include <grpcpp/grpcpp.h>'
  expect_violation coordinator/core/core.cc '  #  include "coordinator/store/store.h"'
  expect_violation coordinator/core/core.cc '#include <sys/socket.h>'
  expect_violation coordinator/core/core.cc '#include <thread>'
  expect_violation coordinator/core/core.cc 'auto now = std::chrono::steady_clock::now();'
  expect_violation worker/core/core.cc '#include "worker/exec/reactor.h"'
  expect_violation worker/core/core.cc '#include "coordinator/core/core.h"'
  expect_violation coordinator/rpc/service.cc '#include "worker/core/core.h"'
  expect_violation coordinator/coordinator.cc '#include "worker/worker.h"'
  expect_violation coordinator/loop/loop.cc '#include "coordinator/store/sqlite_store.h"'
  expect_violation coordinator/loop/loop.cc '#include "coordinator/rpc/service.h"'
  expect_violation coordinator/loop/loop.cc '#include <grpcpp/completion_queue.h>'
  expect_violation coordinator/store/sqlite_store.cc '#include "coordinator/loop/loop.h"'
  expect_violation coordinator/store/sqlite_store.cc '#include "haul/v1/jobs.pb.h"'
  expect_violation common/ids.h '#include "coordinator/core/core.h"'
  expect_violation common/ids.h '#include "common/rpc/status.h"'
  expect_violation worker/exec/reactor.cc '#include <grpc/grpc.h>'
  expect_violation worker/exec/reactor.cc '#include "worker/exec/launch/launcher.h"'
  expect_violation worker/exec/spawn.cc '#include "absl/strings/str_cat.h"'
  expect_violation worker/exec/launch/launcher.cc '#include "worker/exec/command/command_runner.h"'
  expect_violation worker/exec/executor/executor_process.cc '#include "worker/exec/command/orphans.h"'
  expect_violation worker/exec/guardian/guardian.cc '#include "worker/exec/reactor.h"'
  expect_clean worker/exec/guardian/watch_parent.cc '#include "worker/exec/reactor.h"'
  expect_violation worker/executor/main.cc '#include "haul/v1/session.grpc.pb.h"'
  expect_violation cli/main.cc '#include <grpcpp/grpcpp.h>'
  expect_violation cli/main.cc '#include "coordinator/core/core.h"'
  expect_violation include/haul/client.h '#include "haul/v1/jobs.pb.h"'
  expect_violation include/haul/client.h '#include "absl/status/status.h"'
  expect_violation examples/functions/noop.cc '#include "common/ids.h"'
  expect_violation common/ids.cc '#include "ids.h"'
  expect_violation coordinator/attic/old.cc '#include <vector>'
  expect_violation common/long.cc "$(seq 701)"
  expect_clean coordinator/core/core_test.cc $'#include <gtest/gtest.h>\n#include <thread>'
  expect_clean worker/core/recorder_for_test.h '#include <gmock/gmock.h>'
  expect_clean coordinator/rpc/service.cc $'#include <grpcpp/grpcpp.h>\n#include "haul/v1/jobs.grpc.pb.h"'
  expect_violation coordinator/rpc/service.cc '#include "coordinator/store/sqlite_store.h"'
  expect_clean coordinator/rpc/service.cc '#include "coordinator/store/output_files.h"'
  expect_clean common/full.cc "$(seq 700)"
  echo "arrows self-test: $violations wrong answers"
  ((violations == 0))
}

if [[ ${1:-} == --self-test ]]; then
  self_test
else
  check_tree "${1:?usage: arrows_test.sh ROOT [BIN_DIR]}" "${2:-}"
fi
