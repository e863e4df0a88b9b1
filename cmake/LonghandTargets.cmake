# longhand_library(), longhand_binary(), longhand_test(), longhand_proto(): a room's CMake is its
# dependency list. Every target gets C++20, the root as its include path, and warnings as errors.
include_guard(GLOBAL)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
get_filename_component(LONGHAND_ROOT ${CMAKE_CURRENT_LIST_DIR}/.. ABSOLUTE)

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  # One cache for all build directories: paths are stored relative to the root.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${LONGHAND_ROOT} CCACHE_NOHASHDIR=1 ${CCACHE_PROGRAM})
endif()

add_library(longhand_flags INTERFACE)
target_include_directories(longhand_flags INTERFACE ${LONGHAND_ROOT})
# -Wno-restrict: g++ 12 warns of std::string's own operator+ at -O3 (GCC bug 105651).
target_compile_options(longhand_flags INTERFACE -Wall -Wextra -Werror -Wno-missing-field-initializers
                                                -Wno-restrict -ffp-contract=off)
if(LONGHAND_SANITIZE)
  set(sanitize_options -fsanitize=${LONGHAND_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  # g++ 12 takes variables for uninitialised under the address sanitizer that it does not without, and at -O1 the deletion of
  # a coroutine's frame for that of another kind.
  list(APPEND sanitize_options -Wno-maybe-uninitialized -Wno-mismatched-new-delete)
  target_compile_options(longhand_flags INTERFACE ${sanitize_options})
  target_link_options(longhand_flags INTERFACE -fsanitize=${LONGHAND_SANITIZE})
  # g++ refuses fences under the thread sanitizer, which does not see them; Asio's locks order the same.
  if(LONGHAND_SANITIZE MATCHES thread)
    target_compile_definitions(longhand_flags INTERFACE BOOST_ASIO_DISABLE_FENCED_BLOCK)
  endif()
endif()

# What every program built with the thread sanitizer has in it, and where its reports are judged.
if(LONGHAND_SANITIZE MATCHES thread)
  add_library(longhand_thread_sanitizer OBJECT ${LONGHAND_ROOT}/cmake/sanitizers/thread.cc)
  target_link_libraries(longhand_thread_sanitizer PRIVATE longhand_flags)
endif()
function(longhand_sanitize name)
  if(TARGET longhand_thread_sanitizer)
    target_sources(${name} PRIVATE $<TARGET_OBJECTS:longhand_thread_sanitizer>)
  endif()
endfunction()

# longhand_library(name SRCS a.cc b.cc DEPS longhand::other): target `name`, alias longhand::name.
# Without SRCS it is header-only.
function(longhand_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  if(ARG_SRCS)
    add_library(longhand_${name} STATIC ${ARG_SRCS})
    target_link_libraries(longhand_${name} PUBLIC longhand_flags ${ARG_DEPS})
  else()
    add_library(longhand_${name} INTERFACE)
    target_link_libraries(longhand_${name} INTERFACE longhand_flags ${ARG_DEPS})
  endif()
  add_library(longhand::${name} ALIAS longhand_${name})
endfunction()

# longhand_templates(file.cc.in names...): configures file.cc.in, in which @NAME_template@ is the text of templates/NAME.txt
# without its last newlines. Templates travel in the programs, which must find them on machines without the repository.
function(longhand_templates source)
  foreach(name ${ARGN})
    set(file ${CMAKE_CURRENT_SOURCE_DIR}/templates/${name}.txt)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    file(READ ${file} text)
    string(REGEX REPLACE "\n+$" "" ${name}_template "${text}")
  endforeach()
  string(REGEX REPLACE "\\.in$" "" configured ${source})
  configure_file(${source} ${configured} @ONLY)
endfunction()

# longhand_binary(name SRCS main.cc DEPS ...): build/<preset>/bin/<name>.
function(longhand_binary name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_link_libraries(${name} PRIVATE longhand_flags ${ARG_DEPS})
  longhand_sanitize(${name})
endfunction()

# longhand_test(name SRCS a_test.cc DEPS ... [TIMEOUT seconds]): one GoogleTest program, one ctest entry.
function(longhand_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SRCS;DEPS" ${ARGN})
  if(NOT LONGHAND_WITH_TESTS)
    return()
  endif()
  find_package(GTest REQUIRED)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(LONGHAND_SANITIZE)
    math(EXPR ARG_TIMEOUT "10 * ${ARG_TIMEOUT}")
  endif()
  add_executable(${name} ${ARG_SRCS})
  target_link_libraries(${name} PRIVATE longhand_flags ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE LONGHAND_TEST_DATA="${LONGHAND_ROOT}/tests/data")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  longhand_sanitize(${name})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT})
endfunction()

# longhand_proto(name PROTOS longhand/v1/x.proto ...): messages and gRPC stubs; paths are relative to
# the calling directory, and includes read "longhand/v1/x.pb.h".
function(longhand_proto name)
  cmake_parse_arguments(ARG "" "" "PROTOS" ${ARGN})
  find_package(Protobuf REQUIRED)
  find_package(gRPC CONFIG REQUIRED)
  add_library(longhand_${name} STATIC)
  foreach(proto ${ARG_PROTOS})
    string(REGEX REPLACE "\\.proto$" "" stem ${proto})
    set(out ${CMAKE_CURRENT_BINARY_DIR}/${stem})
    add_custom_command(
      OUTPUT ${out}.pb.cc ${out}.pb.h ${out}.grpc.pb.cc ${out}.grpc.pb.h
      COMMAND protobuf::protoc -I ${CMAKE_CURRENT_SOURCE_DIR} --cpp_out=${CMAKE_CURRENT_BINARY_DIR}
              --grpc_out=generate_mock_code=false:${CMAKE_CURRENT_BINARY_DIR}
              --plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_cpp_plugin>
              ${CMAKE_CURRENT_SOURCE_DIR}/${proto}
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${proto}
      COMMENT "protoc ${proto}")
    target_sources(longhand_${name} PRIVATE ${out}.pb.cc ${out}.grpc.pb.cc)
  endforeach()
  # Generated code is not ours to warn about.
  target_include_directories(longhand_${name} SYSTEM PUBLIC ${CMAKE_CURRENT_BINARY_DIR})
  target_link_libraries(longhand_${name} PUBLIC gRPC::grpc++ protobuf::libprotobuf)
  # Its inline functions are ours too. protobuf's maps have two members more where the macro is defined, but its library was
  # built without.
  if(LONGHAND_SANITIZE)
    target_compile_options(longhand_${name} PRIVATE ${sanitize_options})
  endif()
  if(LONGHAND_SANITIZE MATCHES thread)
    target_compile_options(longhand_${name} PUBLIC -U__SANITIZE_THREAD__)
  endif()
  add_library(longhand::${name} ALIAS longhand_${name})
endfunction()

include(${CMAKE_CURRENT_LIST_DIR}/LonghandCuda.cmake)
