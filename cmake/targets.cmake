# One call per folder. Sources are globbed, so adding a file edits no list.

# hp_library(NAME DEPS target...): a static library of every .c in the folder except main*.c.
function(hp_library name)
    cmake_parse_arguments(L "" "" "DEPS" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c)
    list(FILTER sources EXCLUDE REGEX "/main[^/]*\\.c$")
    add_library(hp_${name} STATIC ${sources})
    target_link_libraries(hp_${name} PUBLIC ${L_DEPS})
endfunction()

# hp_program(NAME SOURCES file... DEPS target...): a program in <build>/bin. Target `programs` builds all.
add_custom_target(programs)
function(hp_program name)
    cmake_parse_arguments(P "" "" "SOURCES;DEPS" ${ARGN})
    add_executable(${name} ${P_SOURCES})
    target_link_libraries(${name} PRIVATE ${P_DEPS})
    add_dependencies(programs ${name})
endfunction()

# hp_tests(FOLDER LABEL DEPS target...): every FOLDER/*_test.c becomes one cmocka program and one
# ctest entry named after its path.
function(hp_tests folder label)
    cmake_parse_arguments(T "" "TIMEOUT" "DEPS" ${ARGN})
    if(NOT T_TIMEOUT)
        set(T_TIMEOUT 120)
    endif()
    file(GLOB files CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*_test.c)
    string(REPLACE "/" "_" prefix ${folder})
    foreach(file IN LISTS files)
        get_filename_component(stem ${file} NAME_WE)
        set(target ${label}_${prefix}_${stem})
        add_executable(${target} ${file})
        target_link_libraries(${target} PRIVATE ${T_DEPS} PkgConfig::CMOCKA)
        set_target_properties(${target} PROPERTIES
            RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
        add_test(NAME ${label}/${folder}/${stem} COMMAND ${target})
        set_tests_properties(${label}/${folder}/${stem} PROPERTIES
            LABELS ${label} TIMEOUT ${T_TIMEOUT}
            ENVIRONMENT "CMOCKA_MESSAGE_OUTPUT=stdout;HALFPENNY_BIN=${CMAKE_BINARY_DIR}/bin;HALFPENNY_SOURCE=${CMAKE_SOURCE_DIR}")
    endforeach()
endfunction()

# hp_fuzz(FOLDER DEPS target...): every FOLDER/*_fuzz.c; with HP_FUZZ a libFuzzer target,
# otherwise a program that replays the files named on its command line (tests use it on the corpora).
add_custom_target(fuzz_targets)
function(hp_fuzz folder)
    cmake_parse_arguments(F "" "" "DEPS" ${ARGN})
    file(GLOB files CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*_fuzz.c)
    foreach(file IN LISTS files)
        get_filename_component(stem ${file} NAME_WE)
        if(HP_FUZZ)
            add_executable(${stem} ${file})
            target_compile_options(${stem} PRIVATE -fsanitize=fuzzer)
            target_link_options(${stem} PRIVATE -fsanitize=fuzzer)
        else()
            add_executable(${stem} ${file} ${CMAKE_SOURCE_DIR}/tests/support/fuzz_replay.c)
            add_test(NAME fuzz/corpus/${stem}
                COMMAND ${stem} ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/corpus/${stem})
            set_tests_properties(fuzz/corpus/${stem} PROPERTIES LABELS fuzz TIMEOUT 120)
        endif()
        add_dependencies(fuzz_targets ${stem})
        target_link_libraries(${stem} PRIVATE ${F_DEPS})
        set_target_properties(${stem} PROPERTIES
            RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
    endforeach()
endfunction()
