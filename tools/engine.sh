# shellcheck shell=bash
# A Docker engine and the base image for tools/compose.sh, which sources this and provides S_DIR, BASE and tell.
#
#   find_engine    the one that answers; else, as root, one of its own below S_DIR
#   find_base      BASE: there, pulled, or made with debootstrap
#   remove_base    if it was made here
#   stop_engine    stops and removes the one in ENGINE_PID
#
# An engine of its own has its data, its socket and its containerd below S_DIR, so that it meets no other engine,
# and nothing of it is left: bridge, packet filter rules and the setting of ip_forward are put back as they were.

ENGINE_PID='' BASE_MADE=''

engine_answers() { docker version >/dev/null 2>&1; }

find_engine() {
    if engine_answers; then
        tell "engine   $(docker version -f '{{.Server.Version}}'), which runs here already"
        return
    fi
    [ -z "${DOCKER_HOST:-}" ] || die "the Docker engine of DOCKER_HOST=$DOCKER_HOST does not answer"
    [ "$(id -u)" -eq 0 ] || die "no Docker engine answers, and only root can start one: run ./run compose as root," \
        "or start Docker and join the group docker"
    command -v dockerd >/dev/null || need_packages engine # where systemd runs, installing starts it
    if engine_answers; then
        tell "engine   $(docker version -f '{{.Server.Version}}'), just installed; it goes on running"
        return
    fi
    start_engine
    tell "engine   $(docker version -f '{{.Server.Version}}'), none ran here: started for this run"
}

# --- an engine of its own ---

# The packet filter before dockerd adds to it; a table that is not there is saved as an empty one.
save_rules() {
    local saved
    saved=$(iptables-save -t filter 2>/dev/null | grep -v '^#')
    printf '%s\n' "${saved:-$(printf '%s\n' '*filter' ':INPUT ACCEPT' ':FORWARD ACCEPT' ':OUTPUT ACCEPT' COMMIT)}"
    saved=$(iptables-save -t nat 2>/dev/null | grep -v '^#')
    printf '%s\n' "${saved:-$(printf '%s\n' '*nat' ':PREROUTING ACCEPT' ':INPUT ACCEPT' ':OUTPUT ACCEPT' \
        ':POSTROUTING ACCEPT' COMMIT)}"
}

# Containers must not send larger packets than the way out takes.
mtu_of_way_out() {
    local device
    device=$(ip -o route show default 2>/dev/null | sed -nE 's/.* dev ([^ ]+).*/\1/p' | head -1)
    [ -z "$device" ] || cat "/sys/class/net/$device/mtu" 2>/dev/null
}

start_engine() {
    local dir=$S_DIR/engine mtu i
    mkdir "$dir"
    mtu=$(mtu_of_way_out)
    save_rules >"$dir/rules"
    cat /proc/sys/net/ipv4/ip_forward >"$dir/ip_forward"
    ip link show docker0 >"$dir/docker0" 2>/dev/null || rm -f "$dir/docker0"
    setsid dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" --host "unix://$dir/socket" \
        ${mtu:+--mtu "$mtu"} >"$S_DIR/log/dockerd.log" 2>&1 </dev/null &
    ENGINE_PID=$!
    disown
    export DOCKER_HOST=unix://$dir/socket
    for ((i = 0; i < 600; i++)); do
        ! engine_answers || return 0
        kill -0 "$ENGINE_PID" 2>/dev/null || break
        sleep 0.1
    done
    grep -E 'level=(error|fatal)|^failed' "$S_DIR/log/dockerd.log" | tail -5 >&2
    die "dockerd did not start; see $S_DIR/log/dockerd.log"
}

# A mount that is left below it would let rm reach into what it shows.
remove_tree() { # DIR
    local mounts
    mounts=$(awk -v dir="$1/" 'index($2, dir) == 1 { print $2 }' /proc/mounts | sort -r)
    [ -z "$mounts" ] || xargs -n 1 umount <<<"$mounts" || return 1
    rm -rf "$1"
}

# stop_engine DIR PID: once its containers are gone. Also called by the script that ends a run with --keep.
stop_engine() {
    local dir=$1 pid=$2 i
    kill "$pid" 2>/dev/null
    for ((i = 0; i < 300; i++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    ! kill -0 "$pid" 2>/dev/null || { say "dockerd, process $pid, does not end; it stays" >&2 && return 1; }
    [ -f "$dir/docker0" ] || ip link delete docker0 2>/dev/null
    iptables-restore <"$dir/rules" && cat "$dir/ip_forward" >/proc/sys/net/ipv4/ip_forward || return 1
    remove_tree "$dir"
}

# --- the base image ---

find_base() {
    if docker image inspect "$BASE" >/dev/null 2>&1; then
        tell "base     $BASE is here"
    elif timeout 300 docker pull "$BASE" >"$S_DIR/log/pull.log" 2>&1; then
        tell "base     $BASE pulled; it stays when all else is removed"
    else
        tell "base     $BASE cannot be pulled: $(tail -1 "$S_DIR/log/pull.log")"
        tell "         so it is made with debootstrap, from the packages this machine uses"
        make_base
    fi
}

# "URI SUITE" lines of this machine's package sources, for Debian 12.
bookworm_sources() {
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
        awk '$2 ~ /^bookworm(-updates|-security)?$/ && $3 == "main" && !seen[$0]++ { print $1, $2 }'
}

# Without what nobody reads in a container, now and when packages are added: that is what "slim" means.
make_slim() { # ROOT
    local dir
    for dir in doc man info locale; do printf 'path-exclude=/usr/share/%s/*\n' "$dir"; done >"$1/etc/dpkg/dpkg.cfg.d/slim"
    printf 'path-include=/usr/share/doc/*/copyright\n' >>"$1/etc/dpkg/dpkg.cfg.d/slim"
    printf '%s\n' 'APT::Keep-Downloaded-Packages "false";' 'Dir::Cache::pkgcache "";' 'Dir::Cache::srcpkgcache "";' \
        >"$1/etc/apt/apt.conf.d/90slim"
    find "$1"/usr/share/doc ! -type d ! -name copyright -delete
    rm -rf "$1"/usr/share/man/* "$1"/usr/share/info/* "$1"/usr/share/locale/* "$1"/var/cache/apt/archives/*.deb \
        "$1"/var/lib/apt/lists/*
}

make_base() {
    local root=$S_DIR/base mirror
    [ "$(id -u)" -eq 0 ] || die "only root can run debootstrap: make $BASE as root, or give this engine a registry"
    command -v debootstrap >/dev/null || need_packages base
    mirror=$(bookworm_sources | awk '$2 == "bookworm" { print $1; exit }')
    [ -n "$mirror" ] || die "no source of Debian 12 (bookworm) in /etc/apt: debootstrap needs one"
    logged debootstrap debootstrap --variant=minbase bookworm "$root" "$mirror"
    # Its apt shall reach the same sources in the same way.
    bookworm_sources | sed 's/^/deb /; s/$/ main/' >"$root/etc/apt/sources.list"
    apt-config dump Acquire::http::Proxy Acquire::https::Proxy Acquire::Check-Valid-Until >"$root/etc/apt/apt.conf.d/90host"
    make_slim "$root"
    tar -C "$root" --one-file-system -c . | docker import - "$BASE" >"$S_DIR/log/import.log" || die "docker import failed"
    BASE_MADE=1
    remove_tree "$root"
}

remove_base() {
    [ -z "$BASE_MADE" ] || docker image rm "$BASE"
    remove_tree "$S_DIR/base" # of a run that was cut short
}
