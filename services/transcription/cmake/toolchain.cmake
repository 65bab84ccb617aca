# oneDNN is the library of matrix products that CTranslate2 calls on x86-64. The whole of it takes half an hour of a core to
# build; its products take two and a half minutes, and nothing else of it is needed. The crates that build the two have no
# setting for that, so they are told here, by the ways that CMake has for it. Other projects read none of this.

set(CMAKE_PROJECT_oneDNN_INCLUDE ${CMAKE_CURRENT_LIST_DIR}/onednn.cmake)
set(CMAKE_PROJECT_ctranslate2_INCLUDE ${CMAKE_CURRENT_LIST_DIR}/ctranslate2.cmake)

# No primitives beside the products; at least one must be named.
set(ONEDNN_ENABLE_PRIMITIVE REORDER CACHE STRING "")
# Profilers' hooks.
set(ONEDNN_ENABLE_JIT_PROFILING OFF CACHE BOOL "")
set(ONEDNN_ENABLE_ITT_TASKS OFF CACHE BOOL "")
