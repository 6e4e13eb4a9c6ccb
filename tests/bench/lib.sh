# What the parts of the benchmark say. They are run by tests/bench/run, which sets S24, TIMED, GAUSS, KERNELS, CODER, PERMUTE,
# SOLVE, MODEL, WORK (a
# directory for them alone), SAMPLES, ROUNDS, MIB and MAX_MIB; see there. A sample is a line, fields separated by tabs:
#
#     part  case  base  unit  value      base: the case it is compared with, which was measured just before; "-": none
#     #     part  text                   about the part
#     =     part  text                   a line of a part that makes its own table
# shellcheck shell=sh

set -eu
LC_ALL=C
export LC_ALL

# about TEXT: of the part $part
about() { printf '#\t%s\t%s\n' "$part" "$*" >>"$SAMPLES"; }

# own LINE: of a table that is the part's own
own() { printf '=\t%s\t%s\n' "$part" "$*" >>"$SAMPLES"; }

# sample CASE BASE UNIT VALUE
sample() { printf '%s\t%s\t%s\t%s\t%s\n' "$part" "$1" "$2" "$3" "$4" >>"$SAMPLES"; }

# take CASE BASE COMMAND [ARGUMENT...]: how long it takes; $peak is the memory that it had at most, in KiB. Outputs are
# called $WORK/out or $WORK/out.*, and removed before.
#
# Where a command writes, $warm is a file as large as its output at least. It is copied, and the copy removed, before
# each, so that all find memory that was just freed: what a virtual machine never used before it must get from its host.
# (On one, cp of 1 GiB took 1.4 to 2.6 s where it came upon such memory, and 0.34 s otherwise.)
warm=
take() {
    case=$1 base=$2
    shift 2
    rm -rf "$WORK/out" "$WORK"/out.*
    if [ -n "$warm" ]; then
        cp --reflink=never "$warm" "$WORK/out"
        rm -f "$WORK/out"
    fi
    line=$("$TIMED" "$@")
    sample "$case" "$base" s "${line% *}"
    # shellcheck disable=SC2034 # for the parts
    peak=${line#* }
}

# rounds N: the numbers from 1 to N
rounds() { awk -v n="$1" 'BEGIN { for (i = 1; i <= n; i++) print i }'; }

# room MIB: whether $WORK has so much; otherwise it says what is left out
room() {
    free=$(df -Pk "$WORK" | awk 'NR == 2 { printf "%d", $4 / 1024 }')
    [ "$free" -gt "$1" ] && return 0
    about "left out: needs $1 MiB of disk, and $WORK has $free; BENCH_DIR says where else"
    return 1
}
