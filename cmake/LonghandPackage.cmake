# What is installed and packed: `cpack` in the build folder makes a .deb for Debian 12, and a .tar.gz that runs wherever glibc
# is as new, with the libraries that it needs beside it. deploy/build-packages calls it.
include_guard(GLOBAL)

set(programs longhand longhand-coordinator longhand-worker)
# An RPATH, not a RUNPATH: the libraries' own libraries are found by it too. Where there is no such folder it is the system's.
set_target_properties(${programs} PROPERTIES INSTALL_RPATH "$ORIGIN/../lib/longhand")
foreach(program ${programs})
  target_link_options(${program} PRIVATE -Wl,--disable-new-dtags)
endforeach()

# Packing builds what it packs, and no tests.
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)
install(TARGETS ${programs} RUNTIME_DEPENDENCY_SET longhand_libraries DESTINATION bin COMPONENT longhand)
install(DIRECTORY demo/model demo/pictures DESTINATION share/longhand COMPONENT longhand)
install(FILES LICENSE README.md DESTINATION share/doc/longhand COMPONENT longhand)
# glibc is the system's.
install(RUNTIME_DEPENDENCY_SET longhand_libraries DESTINATION lib/longhand COMPONENT libraries
        PRE_EXCLUDE_REGEXES "^ld-linux" "^lib(c|m|dl|rt|pthread|resolv)\\.so")

set(CPACK_PACKAGE_NAME longhand)
set(CPACK_PACKAGE_VENDOR "Longhand's authors")
set(CPACK_PACKAGE_CONTACT "Longhand's authors <longhand@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Serving cluster for LongWriter-V")
set(CPACK_PACKAGE_FILE_NAME longhand-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_PACKAGE_CHECKSUM SHA256)
set(CPACK_STRIP_FILES ON)
set(CPACK_GENERATOR TGZ DEB)
set(CPACK_COMPONENTS_ALL longhand libraries)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# NCCL is loaded when ranks run on GPUs.
set(CPACK_DEBIAN_PACKAGE_SUGGESTS libnccl2)
set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_CURRENT_LIST_DIR}/PackageOfGenerator.cmake)
include(CPack)
