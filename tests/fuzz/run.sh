#!/usr/bin/env bash
# run.sh BIN_DIR [TARGET..] [--runs N] [--seconds S] [--merge]: runs libFuzzer targets one after the other
# under AddressSanitizer and UBSan, then prints a table: executions, rate, corpus, findings. Without TARGET:
# all. A target ends after N executions [1000000] or S seconds [no limit], or with its first finding, whose
# input is kept below build/fuzz-findings/ and named. The corpus grows in build/fuzz-corpus/; --merge brings
# what it needs to reach the same coverage into tests/fuzz/corpus/.
# Last line: "N passed, N failed".
set -uo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$ROOT/tools/lib.sh"

bin=$1
shift
runs=1000000 seconds=0 merge=0 targets=()
while [ $# -gt 0 ]; do
    case $1 in
    --runs | --seconds)
        case ${2-} in
        '' | *[!0-9]*) die "fuzz: $1 wants a number" ;;
        esac
        [ "$1" = --runs ] && runs=$2 || seconds=$2
        shift
        ;;
    --merge) merge=1 ;;
    -*) die "fuzz: unknown option $1 (TARGET.. --runs N --seconds S --merge)" ;;
    *) targets+=("${1%_fuzz}_fuzz") ;;
    esac
    shift
done
all=()
for source in "$ROOT"/tests/fuzz/*_fuzz.c; do
    all+=("$(basename "$source" .c)")
done
[ ${#targets[@]} -gt 0 ] || targets=("${all[@]}")
for t in "${targets[@]}"; do
    [ -x "$bin/$t" ] || die "fuzz: no target ${t%_fuzz}; there are: ${all[*]%_fuzz}"
done

# The longest input that makes sense to a target; longer ones only cost time.
max_len() {
    case $1 in
    store_log_fuzz) echo 6200 ;;   # one log file and a half
    store_queue_fuzz) echo 1024 ;; # six queue files
    index_fuzz) echo 1800 ;;       # three index files
    index_state_fuzz) echo 65 ;;
    checkpoint_fuzz) echo 100 ;;   # its fields
    conf_fuzz) echo 600 ;;         # each unknown key is compared with all keys
    places_fuzz) echo 400 ;;       # a line for each part, and the mark
    tree_fuzz) echo 300 ;;         # a dozen names
    tx_fuzz) echo 400 ;;           # a few records
    *) echo 4096 ;;
    esac
}

# Leaks are looked for when the target ends; short stacks of allocations, a small quarantine and the plain
# choice of inputs (-entropic=0) more than double the rate.
export ASAN_OPTIONS=detect_leaks=1:malloc_context_size=1:quarantine_size_mb=4:max_malloc_fill_size=0
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
findings=$ROOT/build/fuzz-findings
mkdir -p "$findings"
passed=0 failed=0 table=()

stat_of() { # NAME LOG
    awk -v k="stat::$1:" '$1 == k { print $2 }' "$2"
}

for t in "${targets[@]}"; do
    grown=$ROOT/build/fuzz-corpus/$t kept=$ROOT/tests/fuzz/corpus/$t
    log=$(log_file "fuzz-$t")
    mkdir -p "$grown" "$kept"
    say "$t: $runs executions"
    "$bin/$t" -runs="$runs" -max_total_time="$seconds" -max_len="$(max_len "$t")" -timeout=20 \
        -detect_leaks=0 -entropic=0 -rss_limit_mb=1024 -malloc_limit_mb=64 -print_final_stats=1 \
        -artifact_prefix="$findings/$t-" "$grown" "$kept" >"$log" 2>&1 &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        [ -t 1 ] && printf '\r  %s   ' "$(grep -aoE '^#[0-9]+' "$log" | tail -1)"
        sleep 1
    done
    [ -t 1 ] && printf '\r'
    if wait "$pid"; then
        passed=$((passed + 1)) found=0
    else
        failed=$((failed + 1)) found=1
        grep -aE 'bug at|ERROR: |runtime error|Test unit written' "$log" | head -5
        say "  details: $log"
    fi
    if [ "$merge" -eq 1 ] && [ "$found" -eq 0 ]; then
        rm -rf "$kept.new"
        mkdir "$kept.new"
        "$bin/$t" -merge=1 -max_len="$(max_len "$t")" "$kept.new" "$kept" "$grown" >>"$log" 2>&1 ||
            die "fuzz: merging the corpus of $t failed; see $log"
        rm -rf "$kept"
        mv "$kept.new" "$kept"
    fi
    files=$(find "$kept" -type f | wc -l) bytes=$(du -sb --apparent-size "$kept" | cut -f1)
    table+=("$(printf '%-18s %12s %9s %7s %9s %9s' "$t" "$(stat_of number_of_executed_units "$log")" \
        "$(stat_of average_exec_per_sec "$log")" "$files" "$bytes" "$found")")
done

printf '%-18s %12s %9s %7s %9s %9s\n' target executions exec/s inputs bytes findings
printf '%s\n' "${table[@]}"
say "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
