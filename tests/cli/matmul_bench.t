# matmul-bench: runs, and says what it measured. Small and short: this is no measurement.
. "$LIB"

run matmul-bench --m 64 --k 64 --n 1,3 --reps 1 --warmup 0 -T 1 --baseline none
expect_status 0
expect_no_stderr
expect_stdout_has '64 x 64'
[ "$(grep -c sparse .stdout)" -ge 2 ] || fail "expected a line for each n"

run matmul-bench --m 64 --k 128 --n 1,3 --reps 1 --warmup 0 -T 1 --baseline none --json --dtype bf16
expect_status 0
for piece in '"schema": "s24.matmul-bench/1"' '"tensor": null' '"m": 64' '"k": 128' '"dtype": "bf16"' \
    '"compute": "f32"' '"isa": "' '"threads": 1' '"repack_seconds": ' '{"n": 1, "sparse": {"seconds":' \
    '"gflops":' '"weight_gbps":' '"max_error":' '{"n": 3, "sparse": '; do
    expect_stdout_has "$piece"
done
if command -v python3 >/dev/null; then
    python3 -m json.tool .stdout >/dev/null || fail "expected valid JSON"
fi

# a tensor of a file
run prune "$digits/digits.safetensors" -o d.s24 -q
run matmul-bench d.s24 --tensor fc1.weight --n 1 --reps 1 --baseline none --json
expect_status 0
expect_stdout_has '"tensor": "fc1.weight", "m": 128, "k": 64'
run matmul-bench d.s24 --n 1
expect_status 2
expect_error d.s24
run matmul-bench missing.s24
expect_status 4
expect_error missing.s24

# against the BLAS, where there is one; without one it says so and goes on
run matmul-bench --m 64 --k 64 --n 2 --reps 1 -T 1
expect_status 0
grep -q -i 'Sparse is ' .stdout || grep -q -i blas .stderr || fail "expected a verdict or a word about the BLAS"
