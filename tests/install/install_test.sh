#!/usr/bin/env bash
# Installs a build, builds a project against what was installed, and runs it on the installed programs.
#
#   install_test.sh BUILD PROJECT      CXX and CXXFLAGS are those of the build
set -euo pipefail
readonly build=$1 project=$2
unset HAUL_COORDINATOR HAUL_TOKEN_FILE
scratch=$(mktemp -d)
# No cluster and no settings of the user.
export XDG_CONFIG_HOME=$scratch/config XDG_DATA_HOME=$scratch/share
up=0
end() {
  if ((up)); then
    kill "$up" && wait "$up" || true
  fi
  rm -rf "$scratch"
}
trap end EXIT
# A step that says something only if it fails.
step() {
  "$@" >"$scratch/log" 2>&1 && return
  echo "failed: $*"
  cat "$scratch/log"
  exit 1
}

step cmake --install "$build" --prefix "$scratch/prefix"
# Away from the tree, whose headers it is not to find.
cp -r "$project" "$scratch/project"
step cmake -S "$scratch/project" -B "$scratch/build" -G Ninja "-DCMAKE_PREFIX_PATH=$scratch/prefix" \
  -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG="-Wall -Wextra -Werror -Wno-missing-field-initializers"
step cmake --build "$scratch/build"

export HAUL_DATA_DIR=$scratch/data
"$scratch/prefix/bin/haul" up --private --data-dir "$HAUL_DATA_DIR" \
  --functions "$scratch/build/libstatistics.so" >"$scratch/up" 2>&1 &
up=$!
for ((tenths = 0; ; ++tenths)); do
  if grep -q 'haul is up' "$scratch/up"; then break; fi
  if ((tenths == 600)) || ! kill -0 "$up" 2>/dev/null; then
    echo "no cluster:"
    cat "$scratch/up"
    exit 1
  fi
  sleep 0.1
done

expect() { # COMMAND... ; what it is to print comes from stdin
  local expected printed
  expected=$(cat)
  printed=$("$@" 2>&1) || true
  if [[ $printed != "$expected" ]]; then
    printf '%s prints\n%s\nand not\n%s\n' "$*" "$printed" "$expected"
    cat "$scratch/up"
    exit 1
  fi
}
expect "$scratch/build/summarise" <<'END'
high: 2 values from 10 to 30, mean 20
low: 3 values from 1 to 3, mean 2
refused: empty has no values
END
functions=$("$scratch/prefix/bin/haul" function list)
if [[ $functions != *'map<str,struct<u64,f64,f64,f64>>(vec<struct<str,vec<f64>>>)'* ]]; then
  printf 'the function is not listed:\n%s\n' "$functions"
  exit 1
fi
echo "installed, found, built and run"
