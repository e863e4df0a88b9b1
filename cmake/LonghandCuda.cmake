# longhand_cuda_library(): a library with CUDA sources. LONGHAND_WITH_CUDA says whether there is a compiler for them.
#
# nvcc is called by custom commands, not through enable_language(CUDA): CMake 3.25 does not know CUDA 13's toolkit
# (FindCUDAToolkit asks for nvToolsExt, which is gone), and one object holds the code of several architectures.
include_guard(GLOBAL)

set(LONGHAND_CUDA AUTO CACHE STRING "Build the CUDA backend: AUTO (where nvcc is found), ON or OFF")
set_property(CACHE LONGHAND_CUDA PROPERTY STRINGS AUTO ON OFF)

# sm_80 is the baseline (mma.sync); its PTX serves newer devices than those that are named. sm_90a has wgmma and TMA.
set(LONGHAND_CUDA_ARCHITECTURES
    -gencode arch=compute_80,code=[sm_80,compute_80] -gencode arch=compute_90a,code=sm_90a
    CACHE STRING "nvcc's options that name the GPUs to compile for")

set(LONGHAND_WITH_CUDA FALSE)
if(LONGHAND_CUDA)
  find_program(LONGHAND_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin PATHS /usr/local/cuda/bin
                                        $ENV{CUDA_TOOLKIT_FALLBACK}/bin)
  if(LONGHAND_NVCC)
    get_filename_component(nvcc ${LONGHAND_NVCC} REALPATH)
    get_filename_component(LONGHAND_CUDA_HOME ${nvcc}/../.. ABSOLUTE)
    find_path(LONGHAND_CUDA_INCLUDE cuda_runtime_api.h HINTS ${LONGHAND_CUDA_HOME}/include
              NO_DEFAULT_PATH REQUIRED)
    find_library(LONGHAND_CUDART libcudart_static.a HINTS ${LONGHAND_CUDA_HOME}
                 PATH_SUFFIXES lib64 lib NO_DEFAULT_PATH REQUIRED)
    set(LONGHAND_WITH_CUDA TRUE)
    message(STATUS "CUDA backend: ${LONGHAND_NVCC}")
  elseif(LONGHAND_CUDA STREQUAL "AUTO")
    message(STATUS "CUDA backend: not built, no nvcc was found (scripts/setup --cuda installs one)")
  else()
    message(FATAL_ERROR "LONGHAND_CUDA is ${LONGHAND_CUDA}, and no nvcc was found; "
                        "scripts/setup --cuda installs one")
  endif()
endif()

# The run-time library, linked statically: a program starts on a machine without CUDA and asks there for devices.
if(LONGHAND_WITH_CUDA)
  find_package(Threads REQUIRED)
  add_library(longhand_cudart INTERFACE)
  target_include_directories(longhand_cudart SYSTEM INTERFACE ${LONGHAND_CUDA_INCLUDE})
  target_link_libraries(longhand_cudart INTERFACE ${LONGHAND_CUDART} Threads::Threads dl rt)
  add_library(longhand::cudart ALIAS longhand_cudart)
endif()

# longhand_cuda_library(name SRCS a.cu b.cc DEPS longhand::other): like longhand_library(), only where
# LONGHAND_WITH_CUDA holds. nvcc compiles the .cu files for all architectures; warnings are errors, and a kernel that
# spills registers is one.
function(longhand_cuda_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  set(objects)
  foreach(source ${ARG_SRCS})
    if(NOT source MATCHES "\\.cu$")
      list(APPEND objects ${source})
      continue()
    endif()
    get_filename_component(source ${source} ABSOLUTE)
    file(RELATIVE_PATH stem ${LONGHAND_ROOT} ${source})
    set(object ${CMAKE_BINARY_DIR}/cuda/${stem}.o)
    get_filename_component(folder ${object} DIRECTORY)
    file(MAKE_DIRECTORY ${folder})
    add_custom_command(
      OUTPUT ${object}
      COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${LONGHAND_NVCC} -std=c++20 -O3 -lineinfo --compress-mode=size ${LONGHAND_CUDA_ARCHITECTURES}
              -I${LONGHAND_ROOT} -Werror all-warnings -Xptxas=--warn-on-spills
              -Xcompiler=-fPIC,-Wall,-Wextra,-Werror,-Wno-missing-field-initializers,-ffp-contract=off
              -MD -MF ${object}.d -c ${source} -o ${object}
      DEPENDS ${source}
      DEPFILE ${object}.d
      COMMENT "nvcc ${stem}"
      VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  longhand_library(${name} SRCS ${objects} DEPS ${ARG_DEPS} longhand::cudart)
  set_target_properties(longhand_${name} PROPERTIES LINKER_LANGUAGE CXX)
endfunction()
