# Shell functions shared by ./run and the scripts it calls. Expects ROOT to be the repository.

say() { printf '%s\n' "$*"; }
die() {
    printf 'halfpenny: %s\n' "$*" >&2
    exit 1
}
jobs_n() { printf '%s' "${HALFPENNY_JOBS:-$(nproc)}"; }

port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; } # PORT

log_file() { # NAME: a log below build/
    mkdir -p "$ROOT/build/log"
    printf '%s' "$ROOT/build/log/$1.log"
}

# need_packages GROUP...: installs the missing packages of tools/packages.txt, naming them.
need_packages() {
    local group wanted want missing=()
    for group in "$@"; do
        wanted=$(awk -v g="$group" '$1 == g { print $2 }' "$ROOT/tools/packages.txt") || die "cannot read tools/packages.txt"
        for want in $wanted; do
            dpkg-query -W -f='${Status}' "$want" 2>/dev/null | grep -q 'install ok installed' ||
                missing+=("$want")
        done
    done
    [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
}

install_packages() {
    local as_root=()
    command -v apt-get >/dev/null ||
        die "these packages are missing and apt-get is not here: $* (install their equivalents)"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null ||
            die "missing packages; as root run: apt-get install -y --no-install-recommends $*"
        as_root=(sudo)
    fi
    say "installing Debian packages: $*"
    local log
    log=$(log_file apt)
    # A cluster created by the postgresql package would hold port 5432 for nothing.
    if ! { "${as_root[@]}" apt-get update &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y \
            --no-install-recommends "$@"; } >"$log" 2>&1; then
        tail -5 "$log" >&2
        die "apt-get failed; see $log"
    fi
}
