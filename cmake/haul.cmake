# How Haul builds: flags for our own code, and the functions that a room's CMakeLists.txt is written with.
#
#   haul_library(<target> SOURCES <file>... [LINK <target>...] [PRIVATE_LINK <target>...])
#   haul_program(<target> SOURCES <file>... [LINK <target>...] [LIBEXEC] [STATIC_RUNTIME])
#   haul_function_library(<target> SOURCES <file>... [LINK <target>...])
#   haul_test(<target> SOURCES <file>... [LINK <target>...] [TIMEOUT <seconds>] [RUN_SERIAL]
#             [NEEDS <target>...] [ENVIRONMENT <name=value>...] [SUITES <name>...])
#   haul_plain(<target>)

include_guard(GLOBAL)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_SKIP_BUILD_RPATH OFF)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Kind of build" FORCE)
endif()

# Programs stand together, so that `haul` finds its helpers next to itself.
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/lib")
set(HAUL_TEST_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
set(HAUL_GENERATED_DIR "${PROJECT_BINARY_DIR}/generated")

# What one clone has compiled serves the next.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env "CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}"
                                  CCACHE_NOHASHDIR=1 "${CCACHE_PROGRAM}")
endif()
find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM)
  add_link_options(-fuse-ld=mold)
endif()

# A program loads only the libraries it calls: this is what keeps the helper processes small.
add_link_options(-Wl,--as-needed)

# Sanitizers apply to generated code too, or they would report what they cannot see.
if(HAUL_SANITIZE)
  add_compile_options(-fsanitize=${HAUL_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  if(HAUL_SANITIZE MATCHES "undefined")
    # A third of the time of a build: what AddressSanitizer reports too (a pointer that is null or outside, where it is
    # used), what this processor does not mind, and what only casts between classes need, of which there are none.
    add_compile_options(-fno-sanitize=null,alignment,object-size,pointer-overflow,vptr)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
      # It compares types by address, which differs in a library that is opened.
      add_compile_options(-fno-sanitize=function)
    endif()
  endif()
  add_link_options(-fsanitize=${HAUL_SANITIZE})
endif()

# What our libraries count for the fuzz targets (see haul_library) stays unread in other programs.
if(HAUL_FUZZ)
  add_link_options(-fsanitize=fuzzer-no-link)
endif()

# What the sanitizers' runtimes are told in every test.
set(haul_test_environment
    "HAUL_TEST_BIN_DIR=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}"
    "HAUL_TEST_LIB_DIR=${CMAKE_LIBRARY_OUTPUT_DIRECTORY}"
    "ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1"
    "UBSAN_OPTIONS=print_stacktrace=1"
    "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1")

# Flags and include roots of our own code, and of nothing else.
add_library(haul_flags INTERFACE)
target_compile_features(haul_flags INTERFACE cxx_std_20)
target_compile_options(
  haul_flags
  INTERFACE -Wall
            -Wextra
            # A designated initialiser names what it sets; the rest is meant to be its default.
            -Wno-missing-field-initializers
            -Wpedantic
            -Wshadow
            -Wconversion
            -Wdouble-promotion
            -Wextra-semi
            -Wmissing-declarations
            -Wnon-virtual-dtor
            -Woverloaded-virtual
            -Wundef)
if(HAUL_WERROR)
  target_compile_options(haul_flags INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 reports -Wrestrict inside std::string's operator+ (its bug 105329).
  target_compile_options(haul_flags INTERFACE -Wno-restrict)
  if(HAUL_SANITIZE)
    # GCC's manual: sanitizers make this warning report false positives.
    target_compile_options(haul_flags INTERFACE -Wno-maybe-uninitialized)
  endif()
else()
  target_compile_options(haul_flags INTERFACE -Wthread-safety -Wno-sign-conversion)
endif()
if(HAUL_SANITIZE OR CMAKE_BUILD_TYPE STREQUAL "Debug")
  target_compile_definitions(haul_flags INTERFACE _GLIBCXX_ASSERTIONS)
endif()
target_include_directories(
  haul_flags INTERFACE "${PROJECT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/include"
                       "${HAUL_GENERATED_DIR}/common")
configure_file("${PROJECT_SOURCE_DIR}/cmake/version.h.in"
               "${HAUL_GENERATED_DIR}/common/common/version.h" @ONLY)

# haul_rooms(<folder>...): adds each folder that has a CMakeLists.txt.
function(haul_rooms)
  foreach(room IN LISTS ARGN)
    if(EXISTS "${PROJECT_SOURCE_DIR}/${room}/CMakeLists.txt")
      add_subdirectory("${PROJECT_SOURCE_DIR}/${room}" "${PROJECT_BINARY_DIR}/rooms/${room}")
    endif()
  endforeach()
endfunction()

# A misspelt keyword is an error, not an ignored word.
macro(_haul_parse options one_value multi_value)
  cmake_parse_arguments(PARSE_ARGV 1 arg "${options}" "${one_value}" "${multi_value}")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "${target}: unknown arguments: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT arg_SOURCES)
    message(FATAL_ERROR "${target}: SOURCES is missing")
  endif()
endmacro()

# haul_library(<target> SOURCES <file>... [LINK <target>...] [PRIVATE_LINK <target>...])
#
# The static library of a room. LINK is what its headers mention, PRIVATE_LINK what only its .cc files
# use. Without a .cc among SOURCES it is a library of headers.
function(haul_library target)
  _haul_parse("" "" "SOURCES;LINK;PRIVATE_LINK")
  set(compiled ${arg_SOURCES})
  list(FILTER compiled INCLUDE REGEX "\\.(cc|c)$")
  if(compiled)
    add_library(${target} STATIC ${arg_SOURCES})
    haul_share_headers(${target})
    if(HAUL_FUZZ)
      # Counts what an input reaches.
      target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
    endif()
    # What is of the build alone says so: some libraries are installed (cmake/install.cmake).
    target_link_libraries(${target} PUBLIC ${arg_LINK} PRIVATE $<BUILD_INTERFACE:haul_flags>
                                                               ${arg_PRIVATE_LINK})
    target_include_directories(
      ${target} PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR};${PROJECT_SOURCE_DIR}/include>"
                       "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
  else()
    add_library(${target} INTERFACE ${arg_SOURCES})
    target_link_libraries(${target} INTERFACE ${arg_LINK})
    target_include_directories(${target} INTERFACE "${PROJECT_SOURCE_DIR}"
                                                   "${PROJECT_SOURCE_DIR}/include")
  endif()
endfunction()

# haul_share_headers(<target>)
#
# With HAUL_UNITY the files of a target are compiled as one, so that the headers which they share (gRPC, CLI11,
# GoogleTest: seconds each) are read once. Names in their unnamed namespaces must then differ. (A precompiled header for
# all of them was no quicker: with gRPC in it, it is 290 MB.)
function(haul_share_headers target)
  get_target_property(sources ${target} SOURCES)
  list(LENGTH sources count)
  if(HAUL_UNITY AND count GREATER 1)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0)
  endif()
endfunction()

# haul_plain(<target>)
#
# Optimised and without sanitizers in every build: for tests whose worth is in their number, of code that others test
# under the sanitizers. What such a target links of ours must be plain too.
function(haul_plain target)
  target_compile_options(${target} PRIVATE -O2)
  if(HAUL_SANITIZE)
    target_compile_options(${target} PRIVATE -fno-sanitize=all)
    target_link_options(${target} PRIVATE -fno-sanitize=all)
  endif()
endfunction()

# haul_program(<target> SOURCES <file>... [LINK <target>...] [LIBEXEC] [STATIC_RUNTIME])
#
# A program in bin/. LIBEXEC marks one that `haul` starts and people do not: it is installed under
# libexec/haul. STATIC_RUNTIME links libstdc++ and libgcc statically too, where HAUL_STATIC is on; not for a
# program that opens libraries, since what these throw would pass through another libgcc and abort.
function(haul_program target)
  _haul_parse("LIBEXEC;STATIC_RUNTIME" "" "SOURCES;LINK")
  add_executable(${target} ${arg_SOURCES})
  haul_share_headers(${target})
  target_link_libraries(${target} PRIVATE haul_flags ${arg_LINK})
  if(HAUL_STATIC AND arg_STATIC_RUNTIME)
    target_link_options(${target} PRIVATE -static-libstdc++ -static-libgcc)
  endif()
  if(arg_LIBEXEC)
    install(TARGETS ${target} RUNTIME DESTINATION "${CMAKE_INSTALL_LIBEXECDIR}/haul")
  else()
    install(TARGETS ${target} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
  endif()
endfunction()

# haul_function_library(<target> SOURCES <file>... [LINK <target>...])
#
# A library of functions, lib/lib<target>.so, which a worker loads. It sees include/ alone, as one built
# outside this repository would.
function(haul_function_library target)
  _haul_parse("" "" "SOURCES;LINK")
  add_library(${target} SHARED ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE ${arg_LINK})
  target_compile_options(${target} PRIVATE $<TARGET_PROPERTY:haul_flags,INTERFACE_COMPILE_OPTIONS>)
  target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}/include")
endfunction()

# haul_test(<target> SOURCES <file>... [LINK <target>...] [TIMEOUT <seconds>] [RUN_SERIAL]
#           [NEEDS <target>...] [ENVIRONMENT <name=value>...] [SUITES <name>...])
#
# A GoogleTest program, registered with ctest under its target's name and labelled with its room. NEEDS
# names programs and libraries that it starts or loads; it finds them by HAUL_TEST_BIN_DIR and
# HAUL_TEST_LIB_DIR. RUN_SERIAL is for a test that measures time or loads all cores. With SUITES each of these
# is registered by itself, and what is in none of them as <target>.rest.
function(haul_test target)
  _haul_parse("RUN_SERIAL" "TIMEOUT" "SOURCES;LINK;NEEDS;ENVIRONMENT;SUITES")
  if(NOT HAUL_TESTS)
    return()
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  math(EXPR timeout_seconds "${arg_TIMEOUT} * ${HAUL_TEST_TIMEOUT_FACTOR}")
  cmake_path(RELATIVE_PATH CMAKE_CURRENT_SOURCE_DIR BASE_DIRECTORY "${PROJECT_SOURCE_DIR}"
             OUTPUT_VARIABLE room)

  add_executable(${target} ${arg_SOURCES})
  haul_share_headers(${target})
  target_link_libraries(${target} PRIVATE haul_flags ${arg_LINK} GTest::gmock_main GTest::gmock
                                          GTest::gtest)
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
                                             "${HAUL_TEST_OUTPUT_DIRECTORY}")
  if(arg_NEEDS)
    add_dependencies(${target} ${arg_NEEDS})
  endif()
  set(names)
  set(rest)
  foreach(suite IN LISTS arg_SUITES)
    add_test(NAME ${target}.${suite} COMMAND ${target} "--gtest_filter=*${suite}.*")
    list(APPEND names ${target}.${suite})
    list(APPEND rest "*${suite}.*")
  endforeach()
  if(rest)
    list(JOIN rest ":" rest)
    add_test(NAME ${target}.rest COMMAND ${target} "--gtest_filter=-${rest}")
    list(APPEND names ${target}.rest)
  else()
    add_test(NAME ${target} COMMAND ${target})
    list(APPEND names ${target})
  endif()
  set_tests_properties(
    ${names}
    PROPERTIES LABELS "${room}"
               TIMEOUT ${timeout_seconds}
               RUN_SERIAL "${arg_RUN_SERIAL}"
               ENVIRONMENT "${haul_test_environment};${arg_ENVIRONMENT}")
endfunction()
