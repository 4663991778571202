#!/usr/bin/env bash
# The same work by Haul and by others, by turns on this machine, two at once; prints medians and how they stand to Haul's.
# Of the others those are measured that are installed: xargs; GNU Parallel (parallel); Gearman (gearman-job-server,
# gearman-tools, libgearman-dev); Dask (python3-distributed).
#
#   tests/bench/peers.sh [BIN_DIR]      BIN_DIR: where the program haul is (build/release/bin)
#   COMMANDS=2000 FUTURES=20000 CALLS=2000 REPEAT=3
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
haul=$(realpath "${1:-$here/../../build/release/bin}")/haul
commands=${COMMANDS:-2000} futures=${FUTURES:-20000} calls=${CALLS:-2000} repeat=${REPEAT:-3}
python=/usr/bin/python3 # Debian's, which has Debian's Dask

work=$(mktemp -d)
started=()
end() {
  ((${#started[@]} == 0)) || kill "${started[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap end EXIT

[[ -x $haul ]] || { echo "peers.sh: $haul is not there: cmake --preset release && cmake --build build/release" >&2; exit 2; }
"$haul" --output json --log-level warn up --private --workers 1 --threads 2 >"$work/up" &
started+=($!)
until [[ -s $work/up ]]; do sleep 0.01; done
HAUL_DATA_DIR=$(sed -n 's/.*"data_directory":"\([^"]*\)".*/\1/p' "$work/up")
export HAUL_DATA_DIR

has_parallel() { command -v parallel >/dev/null; }
has_dask() { $python -c "import distributed" 2>/dev/null; }
has_gearman=false
if command -v gearmand >/dev/null && cc -O2 -o "$work/gearman_calls" "$here/peers/gearman_calls.c" -lgearman 2>/dev/null; then
  has_gearman=true
  port=$((20000 + $$ % 10000))
  gearmand --listen 127.0.0.1 --port "$port" --log-file stderr --verbose ERROR 2>/dev/null &
  started+=($!)
  until (: </dev/tcp/127.0.0.1/$port) 2>/dev/null; do sleep 0.05; done
  for _ in 1 2; do
    gearman -h 127.0.0.1 -p "$port" -w -f true /bin/true &
    started+=($!)
    "$work/gearman_calls" worker "$port" &
    started+=($!)
  done
fi

# rate COUNT COMMAND...: how many of COUNT a second
rate() {
  local count=$1 start=${EPOCHREALTIME/[.,]/}
  shift
  "$@" >/dev/null
  echo $((count * 1000000 / (${EPOCHREALTIME/[.,]/} - start)))
}
bench() { # PART SIZES...
  "$haul" --output json bench run --repeat 1 --only "$@" | sed -n 's/.*"less_is_better":[a-z]*,"median":\([0-9]*\).*/\1/p'
}
# Two clients, since each waits for its job before it sends the next.
gearman_commands() {
  local client clients=()
  for _ in 1 2; do
    seq $((commands / 2)) | gearman -h 127.0.0.1 -p "$port" -n -f true &
    clients+=($!)
  done
  for client in "${clients[@]}"; do wait "$client"; done
}
xargs_commands() { seq "$commands" | xargs -P2 -n1 /bin/true; }
parallel_commands() { seq "$commands" | parallel --will-cite -j2 -N1 /bin/true '{=$_=""=}'; }

# One line "KIND PEER FIGURE" for each figure.
one_round() {
  echo "commands Haul $(rate "$commands" "$haul" run --array "1-$commands" -- /bin/true)"
  echo "commands xargs $(rate "$commands" xargs_commands)"
  ! has_parallel || echo "commands Parallel $(rate "$commands" parallel_commands)"
  ! $has_gearman || echo "commands Gearman $(rate "$commands" gearman_commands)"
  ! has_dask || echo "commands Dask $($python "$here/peers/dask_work.py" commands "$commands")"
  echo "futures Haul $(bench futures --values "$futures")"
  ! has_dask || echo "futures Dask $($python "$here/peers/dask_work.py" futures "$futures")"
  echo "call_p50 Haul $(bench call_volatile_p50 --calls "$calls")"
  echo "call_p99 Haul $(bench call_volatile_p99 --calls "$calls")"
  local p50 p99
  if $has_gearman; then
    read -r p50 p99 < <("$work/gearman_calls" client "$port" "$calls")
    printf 'call_p50 Gearman %s\ncall_p99 Gearman %s\n' "$p50" "$p99"
  fi
  if has_dask; then
    read -r p50 p99 < <($python "$here/peers/dask_work.py" calls $((calls / 10)))
    printf 'call_p50 Dask %s\ncall_p99 Dask %s\n' "$p50" "$p99"
  fi
}

for ((i = 0; i < repeat; ++i)); do one_round; done >"$work/figures"
awk '
  { key = $1 " " $2; if (!(key in n)) order[++keys] = key; value[key, ++n[key]] = $3 }
  function median(key,  i, j, held, count) {
    count = n[key]
    for (i = 2; i <= count; ++i)
      for (j = i; j > 1 && value[key, j - 1] > value[key, j]; --j) {
        held = value[key, j]; value[key, j] = value[key, j - 1]; value[key, j - 1] = held
      }
    return value[key, int((count + 1) / 2)]
  }
  END {
    unit["commands"] = unit["futures"] = "tasks/s"; unit["call_p50"] = unit["call_p99"] = "us"
    printf "%-10s %-10s %12s %-8s %s\n", "WORK", "BY", "MEDIAN", "UNIT", "OF HAUL"
    for (k = 1; k <= keys; ++k) {
      split(order[k], part, " ")
      printf "%-10s %-10s %12d %-8s %.3f\n", part[1], part[2], median(order[k]), unit[part[1]], median(order[k]) / median(part[1] " Haul")
    }
  }' "$work/figures"
