# Third-party libraries, all from the distribution. `./run deps` installs them.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

function(hp_dependency name)
    pkg_check_modules(${name} REQUIRED IMPORTED_TARGET GLOBAL ${ARGN})
endfunction()

hp_dependency(LIBUV libuv)
hp_dependency(JANSSON jansson)
hp_dependency(CMOCKA cmocka)
hp_dependency(LIBPQ libpq)
hp_dependency(MICROHTTPD libmicrohttpd)
hp_dependency(CURL libcurl)
hp_dependency(OPENSSL openssl)
hp_dependency(ZLIB zlib)
hp_dependency(ISAL libisal)
hp_dependency(LZ4 liblz4)
hp_dependency(ZSTD libzstd)
