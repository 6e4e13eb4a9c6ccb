# -q: nothing but errors, and what was asked for on stdout.
. "$LIB"

f32 1 2 3 4 | npy w.npy '<f4' '(1, 4)'
for way in '-q prune w.npy -f' 'prune w.npy -fq' 'prune --quiet w.npy -f' 'prune w.npy -f -qv'; do
    # shellcheck disable=SC2086
    run $way
    expect_status 0
    expect_no_stdout
    expect_no_stderr
done
run decompress w.s24 -f -q
expect_status 0
expect_no_stdout
expect_no_stderr
run prune "$digits/fc1.weight.npy" -o f.s24 -q --json
expect_status 0
expect_no_stderr
expect_stdout_has s24.stats/1
run stats f.s24 -q
expect_status 0
expect_stdout_has relative_error
expect_no_stderr
run verify "$digits/fc1.weight.npy" -q
expect_status 1
expect_no_stdout
expect_no_stderr
run verify "$digits/fc1.weight.npy" -q --json
expect_status 1
expect_stdout_has '"ok":false'
run stats missing.s24 -q
expect_status 4
expect_error missing.s24
