# "-" is standard input and output; results and text never mix.
. "$LIB"

f32 1 2 3 4 4 3 2 1 | npy w.npy '<f4' '(2, 4)'
run prune w.npy -o w.s24 -q
run decompress w.s24 -o back.npy -q

# stdin to stdout without a word about either
run prune - <w.npy
expect_status 0
expect_stderr_has 'relative_error'
expect_same .stdout w.s24
"$S24" prune - <w.npy 2>/dev/null | "$S24" decompress - >piped.npy 2>.stderr
expect_no_stderr
expect_same piped.npy back.npy

# truly a pipe, in and out
# shellcheck disable=SC2002 # a pipe is the point
cat w.npy | "$S24" prune -q - | cat >piped.s24
expect_same piped.s24 w.s24
# shellcheck disable=SC2002
cat w.s24 | "$S24" decompress - -o piped2.npy || fail "decompress of a pipe"
expect_same piped2.npy back.npy
# shellcheck disable=SC2002
cat "$digits/digits.safetensors" | "$S24" prune - -q | "$S24" verify - || fail "verify of a pipe"
# shellcheck disable=SC2002
cat "$digits/digits.safetensors" | "$S24" prune - -q | "$S24" stats - --json >piped.json
run prune "$digits/digits.safetensors" -o d.s24 -q
"$S24" stats d.s24 --json | sed 's/"d.s24"/"-"/' >wanted
expect_same piped.json wanted

# -o - and --json: the file on stdout, the report on stderr, and nothing else there
run prune w.npy -o - --json
expect_status 0
expect_same .stdout w.s24
expect_stderr_has '"schema": "s24.stats/1"'
expect_stderr_lacks 'w.npy -> '
[ "$(head -c 1 .stderr)" = '{' ] || fail "expected stderr to be JSON from its first byte"
run prune - -q --json <w.npy
expect_status 0
expect_same .stdout w.s24
expect_stderr_has '"path": "-"'

# raw from a pipe
f32 1 2 3 4 >w.raw
"$S24" prune --from raw --raw-dtype f32 --shape 1,4 - -q <w.raw >r.s24 || fail "raw from a pipe"
run decompress r.s24 -o - --to json
expect_stdout_has '[[0,0,3,4]]'

# a stream that goes on after the data, one that ends too early
(cat w.npy && echo) >long
for way in 'prune -' 'prune long -o out.s24'; do
    # shellcheck disable=SC2086
    run $way <long
    expect_status 3
done
head -c 140 w.npy >short
run prune - <short
expect_status 3
expect_error 'standard input'

# FIFOs and devices are written in place
if mkfifo fifo; then
    cat fifo >through.s24 &
    run prune w.npy -o fifo -q
    expect_status 0
    wait
    expect_same through.s24 w.s24
    [ -p fifo ] || fail "expected the FIFO to be there still"
    cat w.npy >fifo &
    run prune fifo -o from.s24 -q
    expect_status 0
    wait
    expect_same from.s24 w.s24
fi
run prune w.npy -o /dev/null -q
expect_status 0

# nothing there
run prune - </dev/null
expect_status 3
expect_error 'standard input'
run prune /dev/null -o x.s24
expect_status 3
expect_error /dev/null
for command in stats inspect verify; do
    run $command /dev/null
    expect_status 3
    expect_error /dev/null
done
run decompress /dev/null -o x.npy
expect_status 3
expect_error /dev/null
expect_no_file x.s24
expect_no_file x.npy

# a .s24 that another tool saved again: a stream is told so as a file is
for name in resaved resaved-bare; do
    for command in inspect stats 'decompress -o -' 'decompress --salvage -o -'; do
        # shellcheck disable=SC2002,SC2086 # a pipe, not a file; a command and its options
        cat "$DATA/../golden/bad/$name.s24" | run $command -
        expect_status 3
        expect_no_stdout
        expect_error 'standard input: is a .s24 that another tool saved again'
    done
    # shellcheck disable=SC2002
    cat "$DATA/../golden/bad/$name.s24" | run verify -
    expect_status 1
    expect_stdout_has 'is a .s24 that another tool saved again'
done
