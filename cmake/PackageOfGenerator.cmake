# Read by cpack, once for each kind of package.
if(CPACK_GENERATOR STREQUAL "DEB")
  # Debian's own libraries, by dependency.
  set(CPACK_DEB_COMPONENT_INSTALL ON)
  set(CPACK_COMPONENTS_ALL longhand)
  set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
  set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
endif()
