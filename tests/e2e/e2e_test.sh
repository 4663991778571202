#!/usr/bin/env bash
# The real programs, end to end: what a user types, what they get, and what holds when processes are killed.
#
#   e2e_test.sh BIN_DIR LIB_DIR
#
# Each story has a directory and a coordinator of its own on a port that the system chose; what it starts it ends.
set -uo pipefail
readonly haul=$(realpath "$1")/haul  # stories may go elsewhere
readonly functions=$2/libexamples.so
unset HAUL_COORDINATOR HAUL_TOKEN_FILE HAUL_DATA_DIR
scratch=$(mktemp -d)
# No cluster and no settings of the user.
export XDG_CONFIG_HOME=$scratch/config XDG_DATA_HOME=$scratch/share
failures=0
passed=0
story=""
coordinator_pid=0
log=""
declare -A guardian_pid

complain() {
  echo "$story: $*" >&2
  failures=$((failures + 1))
}
expect_eq() { # what actual expected
  if [[ $2 == "$3" ]]; then passed=$((passed + 1)); else complain "$1: got '$2', expected '$3'"; fi
}
expect_has() { # what text part
  if [[ $2 == *"$3"* ]]; then passed=$((passed + 1)); else complain "$1: '$3' is not in '$2'"; fi
}
# expect_status STATUS PART_OF_STDERR COMMAND...
expect_status() {
  local expected=$1 part=$2 status=0 errors
  shift 2
  errors=$("$@" 2>&1 >"$scratch/out" </dev/null) || status=$?
  expect_eq "exit status of ${*:2:6}" "$status" "$expected"
  expect_has "stderr of ${*:2:6}" "$errors" "$part"
}
# await CONDITION... : up to 60 s; a machine may be slow, but not for ever.
await() {
  local limit=$((SECONDS + 60))
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS > limit)); then
      complain "waited in vain for: $*"
      return 1
    fi
    sleep 0.1
  done
}

begin() { # NAME
  story=$1
  export HAUL_DATA_DIR=$scratch/$story
  log=$scratch/$story.log
  mkdir "$HAUL_DATA_DIR"
  guardian_pid=()
}
start_coordinator() { # [LISTEN [ARG...]]
  local listen=${1:-127.0.0.1:0}
  rm -f "$HAUL_DATA_DIR/address"
  "$haul" coordinator start --data-dir "$HAUL_DATA_DIR" --listen "$listen" "${@:2}" >>"$log" 2>&1 &
  coordinator_pid=$!
  await test -s "$HAUL_DATA_DIR/address"
}
start_worker() { # NAME [ARG...]
  local name=$1
  shift
  "$haul" worker start --name "$name" --threads 1 "$@" >>"$log" 2>&1 &
  guardian_pid[$name]=$!
  await connected "$name"
}
connected() { "$haul" worker show "$1" --output json | grep -q '"state":"connected"'; }
worker_pid() { "$haul" worker show "$1" --output json | grep -o '"pid":[0-9]*' | head -n 1 | cut -d: -f2; }
end() {
  local name
  for name in "${!guardian_pid[@]}"; do kill -TERM "${guardian_pid[$name]}" 2>/dev/null; done
  for name in "${!guardian_pid[@]}"; do
    # It waits for a coordinator that is gone, with results that it owes; a second signal ends that.
    await gone "${guardian_pid[$name]}" || kill -TERM "${guardian_pid[$name]}"
    wait "${guardian_pid[$name]}" 2>/dev/null
  done
  "$haul" coordinator stop >/dev/null 2>&1
  wait "$coordinator_pid" 2>/dev/null
  coordinator_pid=0
}
lines_in() { [[ -e $1 ]] && (($(wc -l <"$1") >= $2)); }

commands_run_and_say_how_they_ended() {
  start_coordinator
  start_worker a
  expect_eq "outputs in order" "$("$haul" run --keep-order -- echo x{} ::: 1 2 3 | tr '\n' ' ')" "x1 x2 x3 "
  expect_eq "indices" "$("$haul" run --keep-order --array 2-8:3 -- echo {index} | tr '\n' ' ')" "2 5 8 "
  expect_eq "standard input" "$(printf 'p\nq\n' | "$haul" run --keep-order -a - -- echo {} | tr '\n' ' ')" "p q "
  expect_eq "10 MB of output" "$("$haul" run -- head -c 10000000 /dev/zero | wc -c)" 10000000
  expect_status 1 "exit code 3" "$haul" run -- sh -c 'exit 3'
  expect_status 1 "signal 9" "$haul" run -- sh -c 'kill -9 $$'
  expect_status 1 "timeout" "$haul" run --timeout 200ms -- sleep 100
  expect_status 1 "/no/such/program" "$haul" run -- /no/such/program
  expect_status 1 '/no\xff' "$haul" run -- $'/no\xff'
  expect_status 1 "" "$haul" run --stdin $'/no\xff' -- cat
  expect_eq "the worker lives" "$("$haul" run -- echo alive)" alive
  expect_has "environment" "$("$haul" run --env A=b -- env)" "A=b"
  expect_eq "attempts" "$("$haul" run --retries 2 -- sh -c 'echo $HAUL_ATTEMPT; [ $HAUL_ATTEMPT = 3 ]')" 3
}

functions_run_and_crash_alone() {
  start_coordinator
  start_worker a --functions "$functions"
  expect_eq "primes" "$("$haul" call count_primes.v1 ::: 0,1000 1000,2000 | tr '\n' ' ')" "168 135 "
  expect_status 0 "" "$haul" call noop.v1 --array 0-999999
  expect_status 2 "count_primes.v1" "$haul" call nobody.v1 ::: 1
  expect_status 1 "signal 11" "$haul" call crash.v1 ::: segv
  expect_status 1 "signal 11" "$haul" call --isolation process crash.v1 ::: segv
  expect_status 2 "isolation" "$haul" call --isolation jail crash.v1 ::: segv
  expect_eq "the worker lives" "$("$haul" call echo.v1 ::: alive)" alive
  expect_eq "results in order" "$("$haul" call -k echo.v1 ::: b a | tr '\n' ' ')" "b a "
}

bad_input_is_refused_by_name() {
  start_coordinator
  start_worker a
  expect_status 2 "99" "$haul" job show 99
  expect_status 2 "task_count: 1000000000" "$haul" submit --array 0-999999999 -- true
  expect_status 2 "" "$haul" run -a /dev/null -- echo {}
  expect_status 2 "" "$haul" run --
  expect_status 2 "duration" "$haul" run --timeout soon -- true
  head -c 200000 /dev/zero | tr '\0' x >"$HAUL_DATA_DIR/large"
  expect_status 2 "limit" "$haul" run -a "$HAUL_DATA_DIR/large" -- echo {}
  printf '\xff\xfe\n' >"$HAUL_DATA_DIR/bytes"
  expect_eq "bytes that are no UTF-8" "$("$haul" run -a "$HAUL_DATA_DIR/bytes" -- printf %s {} | od -An -tx1)" " ff fe"
  echo 0123456789012345678901234567890123456789 >"$HAUL_DATA_DIR/wrong"
  expect_status 4 "token" "$haul" --token-file "$HAUL_DATA_DIR/wrong" job list
  expect_status 3 "" "$haul" --connect-timeout 1s --coordinator 127.0.0.1:1 job list
  expect_status 2 "loopback" "$haul" coordinator start --data-dir "$HAUL_DATA_DIR/other" --listen 0.0.0.0:0
  expect_status 2 "--volatile-limit: 'much', write a size from 1.0 MiB to 1.0 TiB" \
    "$haul" coordinator start --data-dir "$HAUL_DATA_DIR/other" --volatile-limit much
  expect_status 2 "--output-limit: '2GiB', write a size from 1.0 MiB to 1.0 GiB" \
    "$haul" coordinator start --data-dir "$HAUL_DATA_DIR/other" --output-limit 2GiB
  local status=0
  timeout 60 "$haul" worker start --name b --threads 1 --functions /etc/passwd >"$scratch/out" 2>&1 || status=$?
  expect_eq "a library that is none" "$status" 2
  expect_has "a library that is none" "$(cat "$scratch/out")" "/etc/passwd"
  expect_status 2 "--threads: 2000 with --functions; the limit is 1024" \
    "$haul" worker start --threads 2000 --functions any.so
  expect_status 2 "name" "$haul" submit --name $'\xff' -- true
  expect_status 2 "request_id" "$haul" submit --request-id $'\xff' -- true
  expect_status 2 "number" "$haul" submit --name 77 -- true
  expect_status 2 "" "$haul" job cancel ""
  expect_status 2 "no job named" "$haul" job show $'\xff'
  expect_status 2 "HOST:PORT" "$haul" --coordinator nowhere job list
  printf 'a\001b0123456789012345' >"$HAUL_DATA_DIR/bytes"
  expect_status 4 "token" "$haul" --token-file "$HAUL_DATA_DIR/bytes" job list
  status=0
  "$haul" run -- echo lost >/dev/full 2>"$scratch/out" || status=$?
  expect_eq "output that has no room" "$status" 1
  expect_has "output that has no room" "$(<"$scratch/out")" "No space left"
  status=0
  "$haul" run -- head -c 1000000 /dev/zero >/dev/full 2>"$scratch/out" || status=$?
  expect_eq "a large output that has no room" "$status" 1
  expect_has "a large output that has no room" "$(<"$scratch/out")" "cannot write to standard output"
  status=0
  "$haul" run -- sh -c 'head -c 1000000 /dev/zero >&2' 2>/dev/full || status=$?
  expect_eq "a large stderr that has no room" "$status" 1
  expect_eq "nothing was lost" "$("$haul" run -- echo alive)" alive
}

two_workers_of_one_name_do_not_fight() {
  start_coordinator
  start_worker a
  local older=${guardian_pid[a]} status=0
  start_worker a
  wait "$older" || status=$?
  expect_eq "the older one ends, refused" "$status" 4
  expect_eq "the newer one works" "$("$haul" run -- echo alive)" alive
}

large_things_pass_and_too_large_ones_are_refused() {
  start_coordinator
  start_worker a --functions "$functions"
  # A result over 64 KiB goes by a file.
  head -c 100000 /dev/zero | tr '\0' x >"$HAUL_DATA_DIR/large"
  expect_eq "a large result" "$("$haul" call echo.v1 -a "$HAUL_DATA_DIR/large" | wc -c)" 100001
  head -c 100000000 /dev/zero | tr '\0' x >"$HAUL_DATA_DIR/huge"
  expect_status 2 "line 1 is longer than 131072 bytes" "$haul" run -a "$HAUL_DATA_DIR/huge" -- echo {}
  expect_eq "nothing was kept" "$("$haul" job list --output json | wc -l)" 1
}

a_client_that_vanishes_in_mid_submit_leaves_nothing() {
  start_coordinator
  mkfifo "$HAUL_DATA_DIR/inputs"
  "$haul" submit -a "$HAUL_DATA_DIR/inputs" -- echo {} >"$HAUL_DATA_DIR/answer" 2>&1 &
  local client=$!
  exec {writer}>"$HAUL_DATA_DIR/inputs"
  seq 1000000 >&"$writer"
  kill -9 "$client"
  wait "$client" 2>/dev/null
  exec {writer}>&-
  expect_eq "its job" "$("$haul" job list --output json)" ""
  expect_eq "its answer" "$(<"$HAUL_DATA_DIR/answer")" ""
  expect_eq "the next is the first" "$("$haul" submit -- true)" 1
}

a_full_disk_makes_no_promise_and_loses_none() {
  if ! mount -t tmpfs -o size=32m tmpfs "$HAUL_DATA_DIR"; then
    echo "$story: NOT RUN: a file system of a known size cannot be mounted here" >&2
    return
  fi
  start_coordinator
  seq -f "%.0f-$(printf '%0200d' 0)" 10000 >"$scratch/inputs"
  local jobs=() job
  while ((${#jobs[@]} < 100)) && job=$("$haul" --reconnect-timeout 1s submit -a "$scratch/inputs" -- true 2>"$scratch/why"); do
    jobs+=("$job")
  done
  expect_has "a job that finds no room" "${#jobs[@]} jobs, then $(<"$scratch/why")" "haul: "
  wait "$coordinator_pid"
  expect_eq "the coordinator ends" "$?" 1
  expect_has "it says why" "$(<"$log")" "full"
  mount -o remount,size=128m "$HAUL_DATA_DIR"
  start_coordinator
  expect_eq "jobs that were acknowledged" "$("$haul" job list --limit 1000 --output json | wc -l)" "${#jobs[@]}"
  start_worker a
  expect_eq "it goes on" "$("$haul" run --priority 1 -- echo alive)" alive
  for job in "${jobs[@]}"; do "$haul" job cancel "$job" >/dev/null || complain "job $job is lost"; done
  end
  umount "$scratch/$story"
}

a_repeated_submit_is_one_job() {
  start_coordinator
  local first second
  first=$("$haul" submit --request-id r1 -- true)
  second=$("$haul" submit --request-id r1 -- true)
  expect_eq "the job" "$second" "$first"
}

coordinator_killed_runs_nothing_again() {
  start_coordinator
  start_worker a
  start_worker b
  local job
  job=$("$haul" submit --array 0-11 -- sh -c "echo {index} >>$HAUL_DATA_DIR/ran; sleep 0.5")
  await lines_in "$HAUL_DATA_DIR/ran" 4
  local address
  address=$(<"$HAUL_DATA_DIR/address")
  kill -9 "$coordinator_pid"
  wait "$coordinator_pid" 2>/dev/null
  start_coordinator "$address"
  expect_status 0 "" "$haul" job wait "$job"
  expect_eq "each task started once" "$(sort -n "$HAUL_DATA_DIR/ran" | tr '\n' ' ')" "0 1 2 3 4 5 6 7 8 9 10 11 "
}

a_volatile_job_that_is_lost_is_told_so() {
  start_coordinator
  "$haul" run --volatile -- true 2>"$scratch/why" &
  local run=$! address status=0
  await any_job
  address=$(<"$HAUL_DATA_DIR/address")
  kill -9 "$coordinator_pid"
  wait "$coordinator_pid" 2>/dev/null
  start_coordinator "$address"
  wait "$run" || status=$?
  expect_eq "its exit status" "$status" 1
  expect_has "why" "$(<"$scratch/why")" "is gone"
}
any_job() { [[ -n $("$haul" job list --output json) ]]; }

worker_killed_loses_nothing() {
  start_coordinator
  start_worker a
  start_worker b
  local job
  job=$("$haul" submit --array 0-19 -- sh -c "echo {index} >>$HAUL_DATA_DIR/ran; sleep 0.2; echo {index}")
  await lines_in "$HAUL_DATA_DIR/ran" 4
  kill -9 "$(worker_pid b)"
  expect_status 0 "" "$haul" job wait "$job"
  expect_eq "each result once" "$("$haul" job logs "$job" | sort -n | tr '\n' ' ')" "$(seq 0 19 | tr '\n' ' ')"
}

drain_and_cancel() {
  start_coordinator
  start_worker a
  local job
  job=$("$haul" submit --array 0-99 -- sh -c "echo \$\$ >>$HAUL_DATA_DIR/pids; sleep 100")
  await lines_in "$HAUL_DATA_DIR/pids" 1
  expect_status 2 "failed tasks have ended" "$haul" job cancel "$job" --task failed
  expect_status 0 "" "$haul" job cancel "$job" --task 90-99,50-58:4
  expect_eq "only these tasks end" "$("$haul" job show "$job" --output json | grep -o '"cancelled":[0-9]*')" '"cancelled":13'
  expect_status 0 "" "$haul" job cancel "$job"
  expect_status 1 "" "$haul" job wait "$job"
  await gone "$(head -n 1 "$HAUL_DATA_DIR/pids")"
  expect_status 0 "" "$haul" job forget "$job"
  expect_status 2 "" "$haul" job show "$job"
  expect_status 0 "" "$haul" worker drain a
  wait "${guardian_pid[a]}"
  expect_eq "a drained worker leaves" "$?" 0
}
gone() { ! kill -0 "$1"; }

up_leaves_nothing_behind() {
  "$haul" up --workers 2 --threads 1 --data-dir "$HAUL_DATA_DIR/d" --listen 127.0.0.1:0 >"$log" 2>&1 &
  local up=$!
  export HAUL_DATA_DIR=$HAUL_DATA_DIR/d
  await connected up-2
  local a b
  a=$(worker_pid up-1)
  b=$(worker_pid up-2)
  expect_eq "it runs" "$("$haul" run -- echo yes)" yes
  kill -TERM "$up"
  wait "$up"
  expect_eq "its exit status" "$?" 0
  await gone "$a"
  await gone "$b"
}

limits_of_the_coordinator_are_what_it_was_told() {
  start_coordinator 127.0.0.1:0 --volatile-limit 1MiB --output-limit 2MiB
  expect_status 4 "of 1048576 bytes" "$haul" submit --volatile --array 0-99999 -- true
  start_worker a
  expect_status 1 "2097152" "$haul" run -- head -c 3000000 /dev/zero
  expect_status 0 "" "$haul" run -- head -c 1500000 /dev/zero
}

up_ends_with_its_terminal() {
  mkdir "$scratch/tmp"
  unset HAUL_DATA_DIR
  TMPDIR=$scratch/tmp "$haul" up --workers 1 --threads 1 >"$log" 2>&1 &
  local up=$!
  await grep -q "haul is up" "$log"
  kill -HUP "$up"
  wait "$up"
  expect_eq "its exit status" "$?" 0
  expect_eq "what it leaves" "$(ls "$scratch/tmp" "$XDG_DATA_HOME/haul" | grep -v ':$' | tr -d '\n')" ""
}

a_relative_data_directory_is_told_in_full() {
  cd "$HAUL_DATA_DIR" || return
  unset HAUL_DATA_DIR
  "$haul" up --workers 1 --threads 1 --data-dir here >"$log" 2>&1 &
  local up=$!
  await grep -q "haul is up" "$log"
  cd "$scratch" || return
  expect_has "what to export" "$(<"$log")" "HAUL_DATA_DIR=$scratch/$story/here"
  expect_eq "it is found from elsewhere" "$("$haul" run -- echo yes)" yes
  kill -TERM "$up"
  wait "$up"
  expect_eq "its exit status" "$?" 0
}

for name in commands_run_and_say_how_they_ended functions_run_and_crash_alone bad_input_is_refused_by_name \
  limits_of_the_coordinator_are_what_it_was_told \
  large_things_pass_and_too_large_ones_are_refused a_client_that_vanishes_in_mid_submit_leaves_nothing \
  a_full_disk_makes_no_promise_and_loses_none two_workers_of_one_name_do_not_fight a_repeated_submit_is_one_job coordinator_killed_runs_nothing_again \
  a_volatile_job_that_is_lost_is_told_so worker_killed_loses_nothing drain_and_cancel \
  up_leaves_nothing_behind up_ends_with_its_terminal a_relative_data_directory_is_told_in_full; do
  begin "$name"
  "$name"
  [[ $coordinator_pid == 0 ]] || end
  echo "$name: done after $SECONDS s"
done
if ((failures > 0)); then tail -n 50 "$scratch"/*.log >&2; fi
rm -rf "$scratch"
echo "$passed passed, $failures failed"
((failures == 0))
