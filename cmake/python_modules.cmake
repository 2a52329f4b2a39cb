# The Python extension modules: _core from csrc/bindings, and one module for each .pyx beside its Python callers.
find_package(Python REQUIRED COMPONENTS Interpreter Development.Module NumPy)

# pybind11 of this interpreter's build environment, never one found elsewhere on the machine.
execute_process(COMMAND "${Python_EXECUTABLE}" -m pybind11 --cmakedir OUTPUT_VARIABLE pybind11_cmake_dir
                OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
find_package(pybind11 3 CONFIG REQUIRED PATHS "${pybind11_cmake_dir}" NO_DEFAULT_PATH)

pybind11_add_module(_core MODULE ${PYLEDGER_BINDING_SOURCES})
target_link_libraries(_core PRIVATE ${PYLEDGER_LIBRARIES})
install(TARGETS _core DESTINATION pyledger)

execute_process(COMMAND "${Python_EXECUTABLE}" -c "import cython_cmake, pathlib; print(pathlib.Path(cython_cmake.__file__).parent / 'cmake')"
                OUTPUT_VARIABLE cython_cmake_dir OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
list(APPEND CMAKE_MODULE_PATH "${cython_cmake_dir}")
include(UseCython)

# pyledger_cython_module(<package folder> <module>): pyledger/<folder>/<module>.pyx, compiled as C++.
function(pyledger_cython_module folder module)
  cython_transpile("${PROJECT_SOURCE_DIR}/pyledger/${folder}/${module}.pyx" LANGUAGE CXX OUTPUT_VARIABLE transpiled
                   CYTHON_ARGS "-X" "freethreading_compatible=True" "-X" "autotestdict=False")
  python_add_library(${module} MODULE WITH_SOABI "${transpiled}")
  target_link_libraries(${module} PRIVATE Python::NumPy)
  target_compile_definitions(${module} PRIVATE NPY_NO_DEPRECATED_API=NPY_2_0_API_VERSION)
  target_compile_options(${module} PRIVATE -Wno-unused-parameter -Wno-missing-field-initializers)
  install(TARGETS ${module} DESTINATION pyledger/${folder})
endfunction()

pyledger_cython_module(clearing _netting)
pyledger_cython_module(reconciliation _matching)
pyledger_cython_module(reconciliation _siphash)
pyledger_cython_module(reconciliation _totals)
