# What tests/cli/*.t say. A test calls `run ARGUMENTS` and then says what it expects of that run; the first expectation
# that does not hold ends it, with all that there is to know. Files of the run: .status .stdout .stderr.
# shellcheck shell=sh

set -u
LC_ALL=C
export LC_ALL
unset NO_COLOR COLUMNS
TERM=xterm # nothing here is a terminal unless a test makes it one
export TERM

export digits="$DATA/digits" # a trained network: see its README.md
ran='(nothing)'

fail()
{
    echo "$*"
    echo "after: s24 $ran"
    if [ -e .status ]; then
        echo "status: $(cat .status)"
        echo "stdout:"
        head -c 4000 .stdout | sed 's/^/  /'
        echo "stderr:"
        head -c 4000 .stderr | sed 's/^/  /'
    fi
    exit 1
}

skip()
{
    echo "$*"
    exit 77
}

# Runs s24; standard input is the caller's.
run()
{
    ran=$*
    "$S24" "$@" >.stdout 2>.stderr
    echo $? >.status
}

# The same, and what it had resident at most, in KiB, in .resident. Needs python3.
run_measured()
{
    ran=$*
    python3 -c '
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
open(".resident", "w").write(str(usage.ru_maxrss))
sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
' "$S24" "$@" >.stdout 2>.stderr
    echo $? >.status
}

# ---------------------------------------------------------------- expectations

expect_status()
{
    [ "$(cat .status)" = "$1" ] || fail "expected status $1"
}

# exactly this text, without its last newline
expect_stdout()
{
    [ "$(cat .stdout)" = "$1" ] || fail "expected on stdout: $1"
}

expect_no_stdout()
{
    [ ! -s .stdout ] || fail "expected nothing on stdout"
}

expect_no_stderr()
{
    [ ! -s .stderr ] || fail "expected nothing on stderr"
}

# a piece of text
expect_stdout_has()
{
    grep -F -q -e "$1" .stdout || fail "expected somewhere on stdout: $1"
}

expect_stderr_has()
{
    grep -F -q -e "$1" .stderr || fail "expected somewhere on stderr: $1"
}

expect_stdout_lacks()
{
    ! grep -F -q -e "$1" .stdout || fail "not expected on stdout: $1"
}

expect_stderr_lacks()
{
    ! grep -F -q -e "$1" .stderr || fail "not expected on stderr: $1"
}

# a whole line
expect_stdout_line()
{
    grep -F -x -q -e "$1" .stdout || fail "expected a line on stdout: $1"
}

expect_stderr_line()
{
    grep -F -x -q -e "$1" .stderr || fail "expected a line on stderr: $1"
}

# one line on stderr that begins with "s24: " and has every piece given: an error as it should be
expect_error()
{
    [ "$(wc -l <.stderr)" -eq 1 ] || fail "expected one line on stderr"
    grep -q '^s24: ' .stderr || fail "expected stderr to begin with 's24: '"
    for piece in "$@"; do
        expect_stderr_has "$piece"
    done
}

# status 2, and a line that points to the help of command $1 ("": to that of s24) and has the other pieces
expect_usage_error()
{
    expect_status 2
    expect_no_stdout
    if [ -n "$1" ]; then
        expect_stderr_has "s24 $1 --help"
    else
        expect_stderr_has 's24 --help'
    fi
    shift
    expect_error "$@"
}

# at most 64 MiB and $1 bytes resident
expect_resident()
{
    [ "$(cat .resident)" -le $((65536 + $1 / 1024)) ] ||
        fail "expected at most 64 MiB + $1 bytes resident; there were $(cat .resident) KiB"
}

expect_file()
{
    [ -s "$1" ] || fail "expected a file $1"
}

expect_no_file()
{
    [ ! -e "$1" ] || fail "expected no file $1"
}

expect_same()
{
    cmp -s "$1" "$2" || fail "expected $1 and $2 to be the same"
}

# The directory $1 holds these files and no others, not even hidden ones (but those of `run`).
expect_only()
{
    where=$1
    shift
    there=$(cd "$where" && find . ! -name . -prune ! -name .status ! -name .stdout ! -name .stderr -print | sort)
    wanted=$(for f in "$@"; do echo "./$f"; done | sort)
    [ "$there" = "$wanted" ] || fail "expected in $where: $(echo "$wanted" | tr '\n' ' '); there is: $(echo "$there" | tr '\n' ' ')"
}

# ---------------------------------------------------------------- inputs

# The number of bytes of a file.
size_of()
{
    wc -c <"$1" | tr -d ' '
}

# npy FILE DESCR SHAPE <data: version 1.0, a header of 128 bytes
npy()
{
    {
        printf '\223NUMPY\001\000\166\000'
        printf '%-117s\n' "{'descr': '$2', 'fortran_order': False, 'shape': $3, }"
        cat
    } >"$1"
}

# Little-endian f32 values of a few numbers that tests need.
f32()
{
    for x in "$@"; do
        case $x in
        0) printf '\000\000\000\000' ;;
        -0) printf '\000\000\000\200' ;;
        1) printf '\000\000\200\077' ;;
        -1) printf '\000\000\200\277' ;;
        2) printf '\000\000\000\100' ;;
        -2) printf '\000\000\000\300' ;;
        3) printf '\000\000\100\100' ;;
        4) printf '\000\000\200\100' ;;
        -4) printf '\000\000\200\300' ;;
        nan) printf '\000\000\300\177' ;;
        inf) printf '\000\000\200\177' ;;
        1e38) printf '\231\166\226\176' ;;
        *) fail "f32 has no $x" ;;
        esac
    done
}

# Bytes that are no number in particular, but finite as any float: $1 of them.
noise()
{
    awk -v n="$1" 'BEGIN { for (i = 0; i < n; i++) printf "%c", 33 + (i * 7919 + int(i / 89) * 31) % 90 }'
}

# safetensors FILE HEADER <data
safetensors()
{
    length=${#2}
    {
        # shellcheck disable=SC2059 # the octal digits are the format
        printf "\\$(printf '%03o' $((length % 256)))\\$(printf '%03o' $((length / 256)))\000\000\000\000\000\000"
        printf '%s' "$2"
        cat
    } >"$1"
}

# few FILE N: tensors t0, t1, ... of 8 x 16, as JSON: whose order of columns is found in no time
few()
{
    awk -v n="$2" 'BEGIN {
        for (t = 0; t < n; t++) {
            printf "%s\"t%d\":[", t ? "," : "{", t
            for (i = 0; i < 128; i++) {
                x = (x * 69069 + 12345 + t) % 65536
                printf "%s%d%s", i % 16 ? "," : i ? ",[" : "[", x % 199 - 99, i % 16 == 15 ? "]" : ""
            }
            printf "]"
        }
        print "}"
    }' >"$1"
}

# ---------------------------------------------------------------- runs that are stopped

# A run in the background that can be signalled: shells start these with SIGINT ignored, and s24 keeps what is ignored.
# The process is $pid.
start()
{
    ran=$*
    if env --default-signal=INT true 2>/dev/null; then
        env --default-signal=INT,HUP,TERM,QUIT "$S24" "$@" >.stdout 2>.stderr &
    elif command -v perl >/dev/null; then
        # shellcheck disable=SC2016 # perl's own variables
        perl -e '$SIG{$_} = "DEFAULT" for "INT", "HUP", "TERM", "QUIT"; exec @ARGV' "$S24" "$@" >.stdout 2>.stderr &
    else
        skip "neither env --default-signal nor perl"
    fi
    pid=$!
}

finish()
{
    wait "$pid"
    echo $? >.status
}

# Waits until the command given succeeds, at most 20 seconds.
until_true()
{
    for _ in $(seq 200); do
        if "$@"; then
            return 0
        fi
        sleep 0.1
    done
    fail "waited in vain for: $*"
}
