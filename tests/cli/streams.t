# Standard streams that are full, closed, or lose their reader.
. "$LIB"

cp "$digits/digits.safetensors" d.safetensors
run prune d.safetensors -q
expect_status 0

# full: what was not written is a failure, also of text
if [ -e /dev/full ]; then
    for words in --help --version 'help prune' 'stats d.s24' 'stats d.s24 --json' 'stats d.s24 --tsv' \
        'inspect d.s24' 'inspect d.s24 --json' 'verify d.safetensors' 'verify d.s24 --json' 'completion bash' \
        'decompress d.s24 -o -' 'prune d.safetensors -o -' 'prune d.safetensors -n --json -q'; do
        ran="$words >/dev/full"
        # shellcheck disable=SC2086
        "$S24" $words >/dev/full 2>.stderr
        echo $? >.status
        : >.stdout
        case $words in # what it says there besides
        prune* | 'verify d.safetensors') expect_stderr_has 'standard output' ;;
        *) expect_error 'standard output' ;;
        esac
        expect_stderr_has 'No space left on device'
        expect_status 4
    done
    run prune d.safetensors -o /dev/full
    expect_status 4
    expect_stderr_has /dev/full
    # stderr that is full changes nothing
    "$S24" stats d.s24 -v 2>/dev/full >.stdout || fail "stats with stderr full"
fi

# closed: an error of the system, never a file that takes its place
ran='... <&-'
for words in 'prune -' 'stats -' 'verify -' 'inspect -' 'decompress - -o x.npy'; do
    # shellcheck disable=SC2086
    "$S24" $words <&- >.stdout 2>.stderr
    echo $? >.status
    expect_status 4
    expect_error 'standard input'
done
ran='... >&-'
for words in --help 'stats d.s24' 'prune d.safetensors -o -'; do
    # shellcheck disable=SC2086
    "$S24" $words >&- 2>.stderr
    echo $? >.status
    expect_status 4
    expect_stderr_has 'standard output'
done
"$S24" prune d.safetensors -f -o closed.s24 <&- >&- 2>&-
echo $? >.status
expect_status 0
expect_same closed.s24 d.s24
"$S24" prune d.safetensors -f -o closed.s24 --json <&- >&- 2>.stderr
echo $? >.status
expect_status 4
expect_same closed.s24 d.s24

# a reader that goes away: quietly, as if by SIGPIPE
command -v bash >/dev/null || skip "the rest needs bash's PIPESTATUS"
for words in 'prune d.safetensors -o - -q' 'decompress d.s24 -o -' 'stats d.s24 --json' '--help'; do
    ran="$words | (reader that is gone)"
    # shellcheck disable=SC2016,SC2086
    bash -c '{ sleep 0.2; "$@"; echo $? >.status; } 2>.stderr | true' - "$S24" $words
    expect_status 141
    expect_no_stderr
done
# the same where SIGPIPE is ignored, as in a child of Python
# shellcheck disable=SC2016
bash -c 'trap "" PIPE; { sleep 0.2; "$@"; echo $? >.status; } 2>.stderr | true' - "$S24" stats d.s24
expect_status 141
expect_no_stderr
