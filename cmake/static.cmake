# HAUL_STATIC: what the programs use of the system's libraries goes into the programs (docs/adr/0002-linking.md).
#
# A `haul` command is a fresh process, and loading some 60 shared objects is most of what it would do. Debian
# ships the archives beside the shared objects, but its CMake packages name only the latter, so this points
# the imported targets at the archives. What these need in turn the packages say themselves, and completely, so
# the order of linking is theirs too. Included after find_package; libraries without an archive stay shared.

set(static_by_default ON)
if(HAUL_SANITIZE)
  # A sanitizer's runtime intercepts what is loaded, and GCC refuses to link it into a static program.
  set(static_by_default OFF)
endif()
option(HAUL_STATIC "Link the libraries statically, and glibc alone dynamically" ${static_by_default})

# spdlog and fmt have no archives in Debian, so in a static program the few files that log compile them in. Not spdlog's own CMake
# package: it has a target of this name that is the shared object, and the two must not meet in a program.
add_library(spdlog::spdlog INTERFACE IMPORTED)
target_include_directories(spdlog::spdlog INTERFACE "${SPDLOG_INCLUDE_DIR}")
target_compile_definitions(spdlog::spdlog INTERFACE SPDLOG_FMT_EXTERNAL)

if(NOT HAUL_STATIC)
  find_library(SPDLOG_LIBRARY spdlog REQUIRED)
  target_compile_definitions(spdlog::spdlog INTERFACE SPDLOG_COMPILED_LIB)
  target_link_libraries(spdlog::spdlog INTERFACE Threads::Threads "${SPDLOG_LIBRARY}" fmt::fmt)
  return()
endif()
target_link_libraries(spdlog::spdlog INTERFACE Threads::Threads fmt::fmt-header-only)

get_property(imported DIRECTORY PROPERTY IMPORTED_TARGETS)
foreach(target IN LISTS imported)
  foreach(property IN ITEMS IMPORTED_LOCATION IMPORTED_LOCATION_NONE IMPORTED_LOCATION_RELEASE
                            IMPORTED_LOCATION_DEBUG)
    get_target_property(location ${target} ${property})
    string(REGEX REPLACE "\\.so[.0-9]*$" ".a" archive "${location}")
    if(EXISTS "${archive}")
      set_target_properties(${target} PROPERTIES ${property} "${archive}")
    endif()
  endforeach()
endforeach()

if(TARGET re2::re2)
  # gRPC finds this one by pkg-config, so it is a flag and not a file.
  find_library(RE2_ARCHIVE libre2.a REQUIRED)
  set_target_properties(re2::re2 PROPERTIES INTERFACE_LINK_LIBRARIES "${RE2_ARCHIVE};Threads::Threads")
endif()

add_link_options(-Wl,--gc-sections)
