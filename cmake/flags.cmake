# Compiler flags for every target: warnings are errors, sanitizers and hardening by option.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

add_compile_options(-Wall -Wextra -Werror -Wconversion -Wsign-conversion -Wshadow
    -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wundef -fno-common
    -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
# clang's -Wconversion takes offence at MQ_ASSERT(!"what should not be").
add_compile_options($<$<C_COMPILER_ID:Clang>:-Wno-string-conversion>)
add_compile_definitions(_GNU_SOURCE HP_VERSION="${PROJECT_VERSION}")
include_directories(${CMAKE_SOURCE_DIR})
add_link_options(-Wl,--as-needed)

if(CMAKE_BUILD_TYPE STREQUAL "Debug")
    add_compile_options(-O1 -g -fno-omit-frame-pointer)
else()
    add_compile_options(-O2 -g -fno-omit-frame-pointer -fno-plt)
    # -Wmaybe-uninitialized and friends read the optimiser's mind; the sanitizer builds judge better.
    add_compile_options($<$<C_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
endif()

if(HP_SANITIZE)
    add_compile_options(-fsanitize=${HP_SANITIZE} -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${HP_SANITIZE})
endif()
if(HP_SANITIZE STREQUAL "thread") # it inlines in another way, and GCC then reads minds here as well
    add_compile_options($<$<C_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
endif()
if(HP_FUZZ) # coverage feedback from the libraries too, not from the target's own file alone
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(HP_FAILPOINTS)
    add_compile_definitions(HP_FAILPOINTS=1)
else()
    add_compile_definitions(HP_FAILPOINTS=0)
endif()
if(HP_HARDENED)
    set(CMAKE_POSITION_INDEPENDENT_CODE ON)
    add_compile_options(-D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection
        -fcf-protection=full)
    add_link_options(-pie -Wl,-z,relro,-z,now,-z,noexecstack)
endif()

find_program(HP_CCACHE ccache)
if(HP_CCACHE)
    set(CMAKE_C_COMPILER_LAUNCHER ${HP_CCACHE})
endif()
