#!/usr/bin/env bash
# Types that do not travel are refused when they are compiled, and the compiler says why.
#
#   codec_refuses_test.sh COMPILER INCLUDE_DIR
set -uo pipefail
readonly compiler=$1 include=$2
options=(-std=c++20 -fsyntax-only -I "$include" -x c++)
[[ $("$compiler" --version) != *clang* ]] || options+=(-ferror-limit=0)
failures=0

# Types T for one compilation, since the standard headers take longest, and how often which message is to come.
text="" types=0 added=0
declare -A expected=()
add() { # DECLARATIONS
  types=$((types + 1)) added=$((added + 1))
  text+="namespace type$types { $1
inline void Use(haul::Reader& reader) { haul::Codec<T>::Name(); haul::Codec<T>::Decode(reader); } }
"
}
expect() { # MESSAGE
  expected[$1]=$added
  added=0
}
compile() {
  "$compiler" "${options[@]}" - 2>&1 <<END
#include <map>
#include "haul/codec.h"
struct Empty {};
struct Part { int x = 0; };
struct Stubborn { explicit Stubborn(int); };
$text
END
}

add 'struct T { Part part; std::vector<Part> parts; Empty empty; };'
compile || failures=1
text="" added=0

add 'struct T { int* pointer; };'
add 'class T { int hidden; };'
add 'struct T { std::map<int, int> map; };'
expect "no specialisation for this type; those of maps, sets and variants are in haul/containers.h"
add 'struct T : Part { int y; };'
add 'struct T : Empty { int y; };'
expect "a struct with a base class"
add 'struct T { bool a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q; };'
expect "more than 16 members"
add 'struct T { char name[8]; int y; };'
add 'struct T { int x; Stubborn stubborn = Stubborn(1); int y; };'
add 'struct T { Stubborn stubborn; };'
add 'struct T { int x; int& y; };'
expect "a C array (make it a std::array), or with a member that {} does not make"
add 'struct T { int x; int y[1]; };'
expect "a member is a C array"
add 'struct T { int x; std::vector<T> children; };'
add 'struct T { std::optional<std::tuple<std::vector<T>>> trees; };'
expect "a struct that contains itself"
add 'enum T { kOne, kTwo };'
expect "give it a type"

printed=$(compile) && failures=$((failures + 1))
for message in "${!expected[@]}"; do
  count=$(grep -F 'error: ' <<<"$printed" | grep -cF "$message")
  if ((count != ${expected[$message]})); then
    echo "$count errors and not ${expected[$message]} say: $message"
    failures=$((failures + 1))
  fi
done
((failures == 0)) || echo "$printed"
echo "$types types, $failures wrong answers"
((failures == 0))
