#!/usr/bin/env bash
# Installs the Debian 12 packages that Haul is built, tested and run with; only what is missing, so it is quick
# when nothing is. This is the one list of them; docs/dependencies.md says what each library is for.
#
#   install-dependencies.sh           what building and testing need
#   install-dependencies.sh --tools   and what ./lint and docs/make_reference need
set -euo pipefail

packages=(
  # to build
  g++ cmake ninja-build pkgconf ccache mold
  protobuf-compiler protobuf-compiler-grpc
  # libraries
  libgrpc++-dev libprotobuf-dev libabsl-dev libspdlog-dev libsqlite3-dev libcli11-dev
  nlohmann-json3-dev libssl-dev
  # to test
  libgtest-dev libgmock-dev libbenchmark-dev clang-format-14 clang-14 libclang-rt-14-dev iproute2 valgrind
)
tools=(clang-tidy-14 doxygen)

case "${1:-}" in
  "") ;;
  --tools) packages+=("${tools[@]}") ;;
  *)
    echo "usage: ${0##*/} [--tools]" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "This installs Debian packages, and here is no apt-get. Install by hand: ${packages[*]}" >&2
  exit 1
fi

is_installed() {
  [[ $(dpkg-query --show --showformat='${db:Status-Status} ' "$1" 2>/dev/null) =~ (^| )installed ]]
}

missing=()
for package in "${packages[@]}"; do
  is_installed "$package" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  exit 0
fi

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "Missing: ${missing[*]}. Install them as root, or install sudo." >&2
    exit 1
  fi
  as_root=(sudo)
fi

apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes \
    -o DPkg::Lock::Timeout=300 "$@"
}
install_missing() { apt install --no-install-recommends "${missing[@]}"; }

echo "Installing ${#missing[@]} packages: ${missing[*]}"
# Lists of packages that are absent or old are fetched, and only then.
if ! apt-cache show "${missing[@]}" >/dev/null 2>&1; then
  apt update
  install_missing
elif ! install_missing; then
  apt update
  install_missing
fi
