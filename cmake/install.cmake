# What find_package(haul CONFIG) gives to other projects; cmake/haul-config.cmake.in is its file.
#
#   haul::function   headers, for libraries of functions; needs nothing else
#   haul::client     for programs that submit; its archives need gRPC, Protobuf and Abseil where they are linked
#
# Archives and no shared object: a program has what it was built with, and starts quicker (docs/adr/0002-linking.md).
include(CMakePackageConfigHelpers)
set(package "${CMAKE_INSTALL_LIBDIR}/cmake/haul")

add_library(haul_function INTERFACE)
target_compile_features(haul_function INTERFACE cxx_std_20)
target_include_directories(haul_function INTERFACE "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
set_target_properties(haul_function PROPERTIES EXPORT_NAME function)
install(TARGETS haul_function EXPORT haul_function)
install(EXPORT haul_function NAMESPACE haul:: DESTINATION "${package}" FILE haul-function.cmake)

if(HAUL_GRPC)
  set_target_properties(haul_client PROPERTIES EXPORT_NAME client)
  target_compile_features(haul_client INTERFACE cxx_std_20)
  install(
    TARGETS haul_client haul_client_convert haul_common haul_config haul_proto haul_proto_grpc haul_wire
    EXPORT haul_client
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}/haul")
  install(EXPORT haul_client NAMESPACE haul:: DESTINATION "${package}" FILE haul-client.cmake)
endif()

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/haul-config.cmake.in"
                              "${PROJECT_BINARY_DIR}/haul-config.cmake" INSTALL_DESTINATION "${package}")
# Before 1.0 a minor version may change what programs see.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/haul-config-version.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/haul-config.cmake" "${PROJECT_BINARY_DIR}/haul-config-version.cmake"
        DESTINATION "${package}")
install(
  DIRECTORY "${PROJECT_SOURCE_DIR}/include/haul"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
  FILES_MATCHING
  PATTERN "*.h")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
