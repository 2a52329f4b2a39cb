# The target blst: BLS12-381 arithmetic (supranational/blst, Apache-2.0), a static library with hidden symbols.
#
# Its source is not kept here. It comes from an installed blst if PYLEDGER_SYSTEM_BLST is ON; otherwise from
# PYLEDGER_BLST_DIR (a blst source tree), the CMake definition before the environment variable; otherwise from the source
# distribution of ckzg, which carries blst v0.3.16 whole: pip fetches it by name and version, its SHA-256 is checked, and
# it stays in the build folder for later builds.
set(PYLEDGER_BLST_DIR "" CACHE PATH "A blst source tree (holds src/server.c and bindings/blst.h)")
option(PYLEDGER_SYSTEM_BLST "Use the blst that find_package(blst) finds" OFF)

set(ckzg_version 2.1.8)
set(ckzg_sha256 d7bef6b425dca6995457fc59fc5b30211d9b28cbbeee0e7a7bef1372e13f29ca)

function(pyledger_download_blst folder)
  set(archive "${folder}/ckzg-${ckzg_version}.tar.gz")
  set(hash "")
  if(EXISTS "${archive}")
    file(SHA256 "${archive}" hash)
  endif()
  if(NOT hash STREQUAL ckzg_sha256)
    find_package(Python COMPONENTS Interpreter REQUIRED)
    message(STATUS "Fetching blst (source distribution of ckzg ${ckzg_version})")
    # With the hash in a requirements file pip checks it before it runs anything of the archive.
    file(WRITE "${folder}/requirements.txt" "ckzg==${ckzg_version} --hash=sha256:${ckzg_sha256}\n")
    execute_process(COMMAND "${Python_EXECUTABLE}" -m pip --disable-pip-version-check download --quiet --no-deps
                            --no-binary :all: --require-hashes --dest "${folder}" -r "${folder}/requirements.txt"
                    RESULT_VARIABLE result ERROR_VARIABLE errors OUTPUT_QUIET)
    if(NOT result EQUAL 0 OR NOT EXISTS "${archive}")
      message(FATAL_ERROR "No blst source: pip could not fetch ckzg ${ckzg_version}.\n${errors}\n"
              "Give a blst v0.3.16 source tree with -DPYLEDGER_BLST_DIR=<folder> or the environment variable of that "
              "name, or an installed blst with -DPYLEDGER_SYSTEM_BLST=ON (through pip: "
              "-C cmake.define.PYLEDGER_SYSTEM_BLST=ON).")
    endif()
    file(SHA256 "${archive}" hash)
    if(NOT hash STREQUAL ckzg_sha256)
      file(REMOVE "${archive}")
      message(FATAL_ERROR "ckzg-${ckzg_version}.tar.gz: expected SHA-256 ${ckzg_sha256}, got ${hash}")
    endif()
    file(REMOVE_RECURSE "${folder}/ckzg-${ckzg_version}")
  endif()
  if(NOT EXISTS "${folder}/ckzg-${ckzg_version}/blst/src/server.c")
    file(ARCHIVE_EXTRACT INPUT "${archive}" DESTINATION "${folder}" PATTERNS "ckzg-${ckzg_version}/blst/*")
  endif()
endfunction()

if(PYLEDGER_SYSTEM_BLST)
  find_package(blst REQUIRED)
  if(NOT TARGET blst AND TARGET blst::blst)
    add_library(blst ALIAS blst::blst)
  endif()
else()
  set(blst_source "${PYLEDGER_BLST_DIR}")
  if(NOT blst_source)
    set(blst_source "$ENV{PYLEDGER_BLST_DIR}")
  endif()
  if(NOT blst_source)
    pyledger_download_blst("${CMAKE_BINARY_DIR}/blst")
    set(blst_source "${CMAKE_BINARY_DIR}/blst/ckzg-${ckzg_version}/blst")
  elseif(NOT EXISTS "${blst_source}/src/server.c")
    message(FATAL_ERROR "PYLEDGER_BLST_DIR=${blst_source}: expected a blst source tree with src/server.c")
  endif()
  # blst's own build script is not used: it chooses instructions by the build host. __BLST_PORTABLE__ chooses at run time.
  add_library(blst STATIC "${blst_source}/src/server.c" "${blst_source}/build/assembly.S")
  target_compile_definitions(blst PRIVATE __BLST_PORTABLE__)
  target_compile_options(blst PRIVATE -fno-builtin -w)
  target_include_directories(blst SYSTEM PUBLIC "${blst_source}/bindings")
  if(SKBUILD AND EXISTS "${blst_source}/LICENSE")
    install(FILES "${blst_source}/LICENSE" DESTINATION pyledger RENAME LICENSE.blst)
  endif()
endif()
